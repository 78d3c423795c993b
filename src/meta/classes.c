/* SPDX-License-Identifier: Apache-2.0
 *
 * The size-class table and what is computed from it.
 *
 * One row per class: object bytes, pages per span. Everything else follows:
 *     objects = span bytes / size
 *     batch   = 128 KiB / size, within 4 .. 128
 *     cache   = 256 KiB / size, within 16 .. 4096; 512 KiB / size, within 4 .. 8, above 32 KiB
 *
 * Sizes go by 16 bytes to 256, then by an eighth of the power of two below, above 32 KiB by a
 * quarter. 4400 is between: databases keep a page of 4 KiB with a header beside it, of which a
 * twentieth was lost. Spans are longer than Go's: as many objects as a span's bits have room for,
 * but no more than 64 KiB or eight objects, give or take what fills them well. Making a span costs
 * the page heap's lock and a descriptor; what a span does not use is not touched, and what is free
 * in it goes back to the OS page by page. Above 32 KiB a span is one object: touching it costs more
 * than its span, and its pages join those beside it when nobody caches it.
 *
 * SYNCHRONIZATION: read-only after mal_classes_init.
 */
#include "meta/classes.h"

#include "base/bits.h"
#include "base/check.h"

struct row {
    uint32_t size_bytes;
    uint16_t span_pages;
};

static const struct row rows[MAL_CLASS_COUNT] = {
    {0, 0},       {16, 1},      {32, 2},     {48, 3},      {64, 4},      {80, 5},      {96, 6},
    {112, 7},     {128, 8},     {144, 8},    {160, 8},     {176, 8},     {192, 8},     {208, 8},
    {224, 8},     {240, 8},     {256, 8},    {288, 8},     {320, 8},     {352, 8},     {384, 8},
    {416, 8},     {448, 8},     {480, 8},    {512, 8},     {576, 8},     {640, 8},     {704, 8},
    {768, 8},     {832, 8},     {896, 8},    {960, 8},     {1024, 8},    {1152, 8},    {1280, 8},
    {1408, 8},    {1536, 8},    {1664, 8},   {1792, 8},    {1920, 8},    {2048, 8},    {2304, 8},
    {2560, 10},   {2816, 8},    {3072, 8},   {3328, 9},    {3584, 8},    {3840, 8},    {4096, 8},
    {4400, 7},    {4608, 8},    {5120, 10},  {5632, 9},    {6144, 9},    {6656, 9},    {7168, 8},
    {7680, 15},   {8192, 8},    {9216, 9},   {10240, 10},  {11264, 11},  {12288, 12},  {13312, 13},
    {14336, 14},  {15360, 15},  {16384, 16}, {18432, 18},  {20480, 20},  {22528, 22},  {24576, 24},
    {26624, 26},  {28672, 28},  {30720, 30}, {32768, 32},  {40960, 5},   {49152, 6},   {57344, 7},
    {65536, 8},   {81920, 10},  {98304, 12}, {114688, 14}, {131072, 16}, {163840, 20}, {196608, 24},
    {229376, 28}, {262144, 32},
};

struct mal_class_info mal_class[MAL_CLASS_COUNT];
uint32_t mal_small[MAL_SMALL_MAX_BYTES / 16 + 1];
uint8_t mal_class_of_medium[MAL_MEDIUM_MAX_BYTES / MAL_PAGE_BYTES + 1];

static void describe(struct mal_class_info *info, struct row row) {
    uint32_t size = row.size_bytes;
    bool is_medium = size > MAL_SMALL_MAX_BYTES;
    *info = (struct mal_class_info){
        .size_bytes = size,
        .span_pages = row.span_pages,
        .span_objects = (uint16_t)((uint32_t)row.span_pages * MAL_PAGE_BYTES / size),
        .batch = (uint16_t)mal_clamp((128u << 10) / size, 4, 128),
        .cache_limit = (uint16_t)(is_medium ? mal_clamp((512u << 10) / size, 4, 8)
                                            : mal_clamp((256u << 10) / size, 16, 4096)),
        /* Exact for every multiple of the size inside a span. */
        .divide_magic = (uint32_t)(((1ull << 32) + size - 1) / size),
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
