/* SPDX-License-Identifier: Apache-2.0
 *
 * The size-class table and what is computed from it.
 *
 * One row per class: object bytes, pages per span. Everything else follows:
 *     objects = span bytes / size
 *     batch   = 16 KiB / size, within 2 .. 64, and 1 for spans of one large object
 *     cache   = 256 KiB / size, within 16 .. 1024; one to four for objects above 32 KiB
 * Read-only after mal_classes_init; no lock.
 */
#include "meta/classes.h"

#include "base/bits.h"
#include "base/check.h"

struct row {
    uint32_t size_bytes;
    uint16_t span_pages;
};

static const struct row rows[MAL_CLASS_COUNT] = {
    {0, 0},       {16, 1},     {32, 1},      {48, 1},      {64, 1},      {80, 1},      {96, 1},
    {112, 1},     {128, 1},    {144, 1},     {160, 1},     {176, 1},     {192, 1},     {208, 1},
    {224, 1},     {240, 1},    {256, 1},     {288, 1},     {320, 1},     {352, 1},     {384, 1},
    {416, 1},     {448, 1},    {480, 1},     {512, 1},     {576, 1},     {640, 1},     {704, 1},
    {768, 1},     {896, 1},    {1024, 1},    {1152, 1},    {1280, 1},    {1408, 2},    {1536, 1},
    {1792, 2},    {2048, 1},   {2304, 2},    {2688, 1},    {3072, 3},    {3200, 2},    {3456, 3},
    {4096, 1},    {4864, 3},   {5376, 2},    {6144, 3},    {6528, 4},    {6784, 5},    {6912, 6},
    {8192, 1},    {9472, 7},   {9728, 6},    {10240, 5},   {10880, 4},   {12288, 3},   {13568, 5},
    {14336, 7},   {16384, 2},  {18432, 9},   {19072, 7},   {20480, 5},   {21760, 8},   {24576, 3},
    {27264, 10},  {28672, 7},  {32768, 4},   {40960, 5},   {49152, 6},   {57344, 7},   {65536, 8},
    {81920, 10},  {98304, 12}, {114688, 14}, {131072, 16}, {163840, 20}, {196608, 24}, {229376, 28},
    {262144, 32},
};

struct mal_class_info mal_class[MAL_CLASS_COUNT];
uint32_t mal_small[MAL_SMALL_MAX_BYTES / 16 + 1];
uint8_t mal_class_of_medium[MAL_MEDIUM_MAX_BYTES / MAL_PAGE_BYTES + 1];

static void describe(struct mal_class_info *info, struct row row) {
    uint32_t size = row.size_bytes;
    uint32_t is_large = size > MAL_SMALL_MAX_BYTES;
    *info = (struct mal_class_info){
        .size_bytes = size,
        .span_pages = row.span_pages,
        .span_objects = (uint16_t)((uint32_t)row.span_pages * MAL_PAGE_BYTES / size),
        .batch = (uint16_t)(is_large ? 1 : mal_clamp((16u << 10) / size, 2, 64)),
        .cache_limit = (uint16_t)(is_large ? mal_clamp((256u << 10) / size, 1, 4)
                                           : mal_clamp((256u << 10) / size, 16, 1024)),
        /* Exact up to the end of any span of several objects; for one object the quotient is 0. */
        .divide_magic = is_large ? 0 : (uint32_t)(((1ull << 32) + size - 1) / size),
    };
}

static void fill_small(void) {
    uint32_t class = 1;
    for (uint32_t i = 0; i < MAL_COUNT_OF(mal_small); i++) {
        while (rows[class].size_bytes < i * 16)
            class ++;
        mal_small[i] = rows[class].size_bytes << 8 | class;
    }
}

static void fill_medium(void) {
    uint32_t class = 1;
    for (uint32_t pages = 0; pages < MAL_COUNT_OF(mal_class_of_medium); pages++) {
        while (rows[class].size_bytes < pages * MAL_PAGE_BYTES)
            class ++;
        mal_class_of_medium[pages] = (uint8_t) class;
    }
}

void mal_classes_init(void) {
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        describe(&mal_class[class], rows[class]);
    fill_small();
    fill_medium();
    MAL_CHECK(mal_class_of_medium[MAL_COUNT_OF(mal_class_of_medium) - 1] == MAL_CLASS_COUNT - 1,
              "the last size class is the largest medium size");
}

uint32_t mal_class_for_aligned(size_t bytes, size_t alignment) {
    if (bytes > MAL_MEDIUM_MAX_BYTES || alignment > MAL_PAGE_BYTES)
        return 0;
    uint32_t class = mal_class_for(bytes < alignment ? alignment : bytes);
    for (; class < MAL_CLASS_COUNT; class ++)
        if ((mal_class[class].size_bytes & (alignment - 1)) == 0)
            return class;
    return 0;
}
