// The decode block loop and the prefill tile by hand, with AVX-512 VNNI intrinsics: what the gate measures against.
// A group of a block is 16 rows x 32 columns: four vectors of nibbles, then 16 f16 scales, 288 bytes.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum { ROWS = 16, TOKENS = 12, GROUP_BYTES = 288, AHEAD = 16 };

static inline void decode_block(const uint8_t *p, int groups, const int8_t *acts, const float *scales, const int32_t *starts, float *out) {
    const __m512i mask = _mm512_set1_epi8(15);
    __m512 acc = _mm512_setzero_ps();
    for (int g = 0; g < groups; g++, p += GROUP_BYTES) {
        const int32_t *quads = (const int32_t *)(acts + g * 32);
        __m512i low = _mm512_set1_epi32(starts[g]), high = _mm512_setzero_si512();
        for (int j = 0; j < 4; j++) {
            __m512i v = _mm512_loadu_si512(p + 64 * j);
            low = _mm512_dpbusd_epi32(low, _mm512_and_si512(v, mask), _mm512_set1_epi32(quads[2 * j]));
            high = _mm512_dpbusd_epi32(high, _mm512_and_si512(_mm512_srli_epi16(v, 4), mask), _mm512_set1_epi32(quads[2 * j + 1]));
        }
        for (int line = 0; line < 4; line++) _mm_prefetch((const char *)p + GROUP_BYTES * AHEAD + 64 * line, _MM_HINT_T0);
        __m512 scale = _mm512_mul_ps(_mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p + 256))), _mm512_set1_ps(scales[g]));
        acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(low, high)), scale, acc);
    }
    _mm512_storeu_ps(out, acc);
}

static inline void prefill_tile(const uint8_t *p, int groups, const int8_t *acts, const float *scales, const int32_t *starts, float *out, int rows) {
    const __m512i mask = _mm512_set1_epi8(15);
    __m512 acc[TOKENS];
    for (int t = 0; t < TOKENS; t++) acc[t] = _mm512_setzero_ps();
    for (int g = 0; g < groups; g++, p += GROUP_BYTES) {
        __m512i w[8];
        for (int j = 0; j < 4; j++) {
            __m512i v = _mm512_loadu_si512(p + 64 * j);
            w[2 * j] = _mm512_and_si512(v, mask);
            w[2 * j + 1] = _mm512_and_si512(_mm512_srli_epi16(v, 4), mask);
        }
        __m512 of_rows = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p + 256)));
#pragma GCC unroll 12
        for (int t = 0; t < TOKENS; t++) {
            const int32_t *quads = (const int32_t *)(acts + ((size_t)t * groups + g) * 32);
            __m512i low = _mm512_set1_epi32(starts[t * groups + g]), high = _mm512_setzero_si512();
            for (int j = 0; j < 8; j += 2) {
                low = _mm512_dpbusd_epi32(low, w[j], _mm512_set1_epi32(quads[j]));
                high = _mm512_dpbusd_epi32(high, w[j + 1], _mm512_set1_epi32(quads[j + 1]));
            }
            __m512 scale = _mm512_mul_ps(of_rows, _mm512_set1_ps(scales[t * groups + g]));
            acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(low, high)), scale, acc[t]);
        }
    }
    for (int t = 0; t < TOKENS; t++) _mm512_storeu_ps(out + (size_t)t * rows, acc[t]);
}

void reference_decode(const uint8_t *w, int rows, int cols, const int8_t *acts, const float *scales, const int32_t *starts, float *out) {
    int groups = cols / 32;
    for (int b = 0; b < rows / ROWS; b++) decode_block(w + (size_t)b * groups * GROUP_BYTES, groups, acts, scales, starts, out + ROWS * b);
}

void reference_prefill(const uint8_t *w, int rows, int cols, int tokens, const int8_t *acts, const float *scales, const int32_t *starts, float *out) {
    int groups = cols / 32;
    for (int b = 0; b < rows / ROWS; b++)
        for (int t = 0; t < tokens; t += TOKENS)
            prefill_tile(w + (size_t)b * groups * GROUP_BYTES, groups, acts + (size_t)t * cols, scales + t * groups, starts + t * groups,
                         out + (size_t)t * rows + ROWS * b, rows);
}

double thread_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
