// Scalars, vectors, constructors and conversions.
//
// A vector constructor is a function-like macro: in `metal::float4(x)` it makes the call, in `metal::float4 x` the name
// stays the type. Vectors of bool are vectors of int with lanes 0 and -1, which is what clang's comparisons give; they
// are never converted to numbers, as kernel IR has no such conversion.
#pragma once

namespace metal {

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef _Float16 half;
typedef decltype(sizeof 0) size_t;

#define SLMC_VECTORS(name, lane)                             \
    typedef lane name##2 __attribute__((ext_vector_type(2))); \
    typedef lane name##3 __attribute__((ext_vector_type(3))); \
    typedef lane name##4 __attribute__((ext_vector_type(4)))

SLMC_VECTORS(float, float);
SLMC_VECTORS(half, half);
SLMC_VECTORS(char, signed char);
SLMC_VECTORS(uchar, uchar);
SLMC_VECTORS(short, short);
SLMC_VECTORS(ushort, ushort);
SLMC_VECTORS(int, int);
SLMC_VECTORS(uint, uint);
SLMC_VECTORS(bool, int);
#undef SLMC_VECTORS

// Of two and four lanes a packed vector differs from the other by its alignment only, and naga packs bytes alone.
typedef char4 packed_char4;
typedef uchar4 packed_uchar4;

template <class T> inline constexpr bool slmc_scalar = __is_arithmetic(T);

template <class V, class S> inline void slmc_append(V& vector, int& filled, S part) {
    if constexpr (slmc_scalar<S>) {
        vector[filled++] = part;
    } else {
        for (int i = 0; i < int(__builtin_vectorelements(S)); i++) vector[filled++] = part[i];
    }
}

// One scalar fills all lanes; else scalars and vectors are laid end to end and have to be as many lanes.
template <class V, class... Parts> inline V slmc_make(Parts... parts) {
    constexpr int lanes = __builtin_vectorelements(V);
    V vector;
    if constexpr (sizeof...(Parts) == 1 && (slmc_scalar<Parts> && ...)) {
        for (int i = 0; i < lanes; i++) ((vector[i] = parts), ...);
    } else {
        int filled = 0;
        constexpr auto count = [](auto part) constexpr {
            if constexpr (slmc_scalar<decltype(part)>) return 1;
            else return int(__builtin_vectorelements(decltype(part)));
        };
        static_assert((count(Parts{}) + ...) == lanes, "a vector constructor has as many lanes as its parts");
        (slmc_append(vector, filled, parts), ...);
    }
    return vector;
}

template <class S> inline auto slmc_mask(S part) {
    if constexpr (slmc_scalar<S>) return part ? -1 : 0;
    else return part;
}
template <class V, class... Parts> inline V slmc_make_bool(Parts... parts) { return slmc_make<V>(slmc_mask(parts)...); }

// `static_cast` of Metal converts vectors too.
template <class T, class S> inline T slmc_cast(S value) {
    if constexpr (slmc_scalar<T>) return T(value);
    else if constexpr (slmc_scalar<S>) return slmc_make<T>(value);
    else return __builtin_convertvector(value, T);
}

template <class T, class S> inline T as_type(S value) {
    static_assert(sizeof(T) == sizeof(S), "as_type keeps the size");
    return __builtin_bit_cast(T, value);
}

}  // namespace metal

// Half literals: `0.5h`. Names without an underscore are the language's own, which Metal is here.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wuser-defined-literals"
constexpr metal::half operator""h(long double value) { return metal::half(value); }
#pragma clang diagnostic pop

using metal::as_type;
using metal::slmc_cast;
using metal::slmc_make;
using metal::slmc_make_bool;
using metal::half, metal::uchar, metal::ushort, metal::uint, metal::ulong;
using metal::float2, metal::float3, metal::float4, metal::half2, metal::half3, metal::half4;
using metal::int2, metal::int3, metal::int4, metal::uint2, metal::uint3, metal::uint4;
using metal::packed_char4, metal::packed_uchar4;

#define static_cast slmc_cast
#define float2(...) slmc_make<metal::float2>(__VA_ARGS__)
#define float3(...) slmc_make<metal::float3>(__VA_ARGS__)
#define float4(...) slmc_make<metal::float4>(__VA_ARGS__)
#define half2(...) slmc_make<metal::half2>(__VA_ARGS__)
#define half3(...) slmc_make<metal::half3>(__VA_ARGS__)
#define half4(...) slmc_make<metal::half4>(__VA_ARGS__)
#define short2(...) slmc_make<metal::short2>(__VA_ARGS__)
#define short4(...) slmc_make<metal::short4>(__VA_ARGS__)
#define ushort2(...) slmc_make<metal::ushort2>(__VA_ARGS__)
#define ushort4(...) slmc_make<metal::ushort4>(__VA_ARGS__)
#define int2(...) slmc_make<metal::int2>(__VA_ARGS__)
#define int3(...) slmc_make<metal::int3>(__VA_ARGS__)
#define int4(...) slmc_make<metal::int4>(__VA_ARGS__)
#define uint2(...) slmc_make<metal::uint2>(__VA_ARGS__)
#define uint3(...) slmc_make<metal::uint3>(__VA_ARGS__)
#define uint4(...) slmc_make<metal::uint4>(__VA_ARGS__)
#define bool2(...) slmc_make_bool<metal::bool2>(__VA_ARGS__)
#define bool3(...) slmc_make_bool<metal::bool3>(__VA_ARGS__)
#define bool4(...) slmc_make_bool<metal::bool4>(__VA_ARGS__)
#define packed_char4(...) slmc_convert<metal::packed_char4>(__VA_ARGS__)
#define packed_uchar4(...) slmc_convert<metal::packed_uchar4>(__VA_ARGS__)
