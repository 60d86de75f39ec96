// Integer functions on bits, and floats in fewer bits.
#pragma once

namespace metal {

template <class T, class F> inline auto slmc_each(T value, F f) {
    if constexpr (slmc_scalar<T>) {
        return T(f(value));
    } else {
        for (int i = 0; i < int(__builtin_vectorelements(T)); i++) value[i] = f(value[i]);
        return value;
    }
}

template <class T> inline T popcount(T a) { return slmc_each(a, [](uint x) { return __builtin_popcount(x); }); }
template <class T> inline T clz(T a) { return slmc_each(a, [](uint x) { return x ? __builtin_clz(x) : 32; }); }
template <class T> inline T ctz(T a) { return slmc_each(a, [](uint x) { return x ? __builtin_ctz(x) : 32; }); }
template <class T> inline T reverse_bits(T a) { return slmc_each(a, [](uint x) { return __builtin_bitreverse32(x); }); }

// Bits offset .. offset + count of a 32-bit lane, sign-extended where the lane has a sign. A count of 0 gives 0.
template <class T> inline T extract_bits(T a, uint offset, uint count) {
    if (count == 0) return a ^ a;
    const uint left = 32 - offset - count;
    return slmc_each(a, [=](auto x) { return decltype(x)(uint(x) << left) >> (32 - count); });
}

}  // namespace metal
