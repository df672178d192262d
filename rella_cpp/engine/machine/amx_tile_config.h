/* SPDX-License-Identifier: MIT
 * `ldtilecfg` reads 64 bytes, but GCC's _tile_loadconfig tells the compiler of 8 (GCC's PR target/114098): it throws away
 * the stores to the other 56, and llama.cpp dies at its first product of tiles. So here are both intrinsics again, with
 * all 64 bytes named. Compile with `-include` this file. It leaves other compilers, languages and processors alone, and
 * changes nothing where GCC has it right. */
#if defined(__AMX_TILE__) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__ASSEMBLER__)
#include <immintrin.h>

static __inline __attribute__((__always_inline__)) void rella_tile_loadconfig(const void *config) {
    __asm__ volatile("ldtilecfg\t%X0" ::"m"(*(const char(*)[64])config));
}

static __inline __attribute__((__always_inline__)) void rella_tile_storeconfig(void *config) {
    __asm__ volatile("sttilecfg\t%X0" : "=m"(*(char(*)[64])config));
}

#define _tile_loadconfig rella_tile_loadconfig
#define _tile_storeconfig rella_tile_storeconfig
#endif
