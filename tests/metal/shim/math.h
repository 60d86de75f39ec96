// Arithmetic functions, on scalars and vectors alike. Floats round as the language says: contraction is off and `fma`
// is one rounding. Metal's own transcendental functions differ from these in their last bits.
#pragma once

namespace metal {

// A vector's lane-wise conversion between any two lane types; what packed constructors come down to.
template <class V, class S> inline V slmc_convert(S value) { return __builtin_convertvector(value, V); }

#define SLMC_MAP1(name, builtin) \
    template <class T> inline T name(T a) { return builtin(a); }
SLMC_MAP1(abs, __builtin_elementwise_abs)
SLMC_MAP1(ceil, __builtin_elementwise_ceil)
SLMC_MAP1(floor, __builtin_elementwise_floor)
SLMC_MAP1(rint, __builtin_elementwise_rint)
SLMC_MAP1(trunc, __builtin_elementwise_trunc)
SLMC_MAP1(sqrt, __builtin_elementwise_sqrt)
SLMC_MAP1(exp, __builtin_elementwise_exp)
SLMC_MAP1(exp2, __builtin_elementwise_exp2)
SLMC_MAP1(log, __builtin_elementwise_log)
SLMC_MAP1(log2, __builtin_elementwise_log2)
SLMC_MAP1(sin, __builtin_elementwise_sin)
SLMC_MAP1(cos, __builtin_elementwise_cos)
SLMC_MAP1(tan, __builtin_elementwise_tan)
SLMC_MAP1(tanh, __builtin_elementwise_tanh)
#undef SLMC_MAP1

template <class T> inline T rsqrt(T a) { return T(1) / sqrt(a); }
template <class T> inline T fract(T a) { return a - floor(a); }
template <class T> inline T pow(T a, T b) { return __builtin_elementwise_pow(a, b); }
template <class T> inline T fma(T a, T b, T c) { return __builtin_elementwise_fma(a, b, c); }
template <class T> inline T fmod(T a, T b) { return a - b * trunc(a / b); }

// The second operand may be a scalar beside a vector.
template <class T, class U> inline T min(T a, U b) { return __builtin_elementwise_min(a, slmc_cast<T>(b)); }
template <class T, class U> inline T max(T a, U b) { return __builtin_elementwise_max(a, slmc_cast<T>(b)); }
template <class T, class L, class H> inline T clamp(T a, L low, H high) { return min(max(a, low), high); }
template <class T> inline T saturate(T a) { return clamp(a, 0.0f, 1.0f); }

// `b` where `which` holds. `which` is a bool, or lanes 0 and -1 of any integer type.
template <class T, class M> inline T select(T a, T b, M which) {
    if constexpr (slmc_scalar<M>) {
        return which ? b : a;
    } else {
        T chosen = a;
        for (int i = 0; i < int(__builtin_vectorelements(T)); i++) chosen[i] = which[i] ? b[i] : a[i];
        return chosen;
    }
}

template <class M> inline bool any(M which) {
    if constexpr (slmc_scalar<M>) {
        return which;
    } else {
        bool found = false;
        for (int i = 0; i < int(__builtin_vectorelements(M)); i++) found |= which[i] != 0;
        return found;
    }
}
template <class M> inline bool all(M which) { return !any(which == 0); }
template <class T> inline auto isnan(T a) { return a != a; }
template <class T> inline auto isinf(T a) { return abs(a) == __builtin_inff(); }

template <class T> inline auto dot(T a, T b) {
    auto sum = a[0] * b[0];
    for (int i = 1; i < int(__builtin_vectorelements(T)); i++) sum += a[i] * b[i];
    return sum;
}
template <class T> inline auto length(T a) { return sqrt(dot(a, a)); }

}  // namespace metal

using metal::slmc_convert;
