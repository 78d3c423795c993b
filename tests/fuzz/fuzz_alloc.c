/* SPDX-License-Identifier: Apache-2.0
 *
 * The malloc family as a machine that a fuzzer drives: each input is a program of four-byte
 * instructions over sixty-four slots. A model knows size, alignment and a pattern of every object;
 * any disagreement, and any complaint of the allocator itself, is an abort.
 *
 *     byte 0   operation      byte 1   slot      bytes 2, 3   size and how it is scaled
 *
 * Links the core's objects with prefixed names; runs under libFuzzer, or is replayed by
 * tests/fuzz/replay_main.c.
 */
#include "mallard/mallard.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int mallard_malloc_trim(size_t pad);

struct object {
    unsigned char *bytes;
    size_t count;
    unsigned char paint;
};

static struct object slots[SLOTS];

static void expect(bool holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "contradicted: %s\n", what);
    abort();
}

/* Sizes of every magnitude: eleven bits and a shift of up to ten. */
static size_t size_of(const uint8_t *code) {
    unsigned raw = (unsigned)code[2] | (unsigned)code[3] << 8;
    return (size_t)(raw & 0x7ff) << (raw >> 11) % 11;
}

static void paint(struct object *object, unsigned char value) {
    object->paint = value;
    memset(object->bytes, value, object->count < 512 ? object->count : 512);
    if (object->count)
        object->bytes[object->count - 1] = value;
}

static void check_paint(const struct object *object, size_t count) {
    size_t head = count < 512 ? count : 512;
    for (size_t at = 0; at < head; at++)
        expect(object->bytes[at] == object->paint, "the payload is what was written");
    if (count == object->count && count > 0)
        expect(object->bytes[count - 1] == object->paint, "the last byte is what was written");
}

static void adopt(struct object *object, void *bytes, size_t count, unsigned char value) {
    expect(bytes != NULL, "there is memory");
    expect((uintptr_t)bytes % 16 == 0, "objects are aligned to 16");
    expect(mallard_malloc_usable_size(bytes) >= count, "objects are as long as was asked for");
    for (int i = 0; i < SLOTS; i++)
        expect(&slots[i] == object || slots[i].bytes != bytes, "no object is given out twice");
    *object = (struct object){bytes, count, 0};
    paint(object, value);
}

static void release(struct object *object) {
    if (object->bytes)
        check_paint(object, object->count);
    mallard_free(object->bytes);
    object->bytes = NULL;
}

static void make_zeroed(struct object *object, size_t count, unsigned char value) {
    size_t members = 1 + value % 7;
    unsigned char *bytes = mallard_calloc(members, count);
    expect(bytes != NULL, "there is memory to clear");
    for (size_t at = 0; at < members * count; at += 1 + at / 64)
        expect(bytes[at] == 0, "calloc gives zeroes");
    adopt(object, bytes, members * count, value);
}

static void make_aligned(struct object *object, size_t count, unsigned char value) {
    size_t alignment = (size_t)8 << value % 14;
    void *bytes = NULL;
    expect(mallard_posix_memalign(&bytes, alignment, count) == 0, "there is aligned memory");
    expect((uintptr_t)bytes % alignment == 0, "the alignment is honoured");
    adopt(object, bytes, count, value);
}

static void resize(struct object *object, size_t count, unsigned char value) {
    struct object before = *object;
    if (before.bytes && count == 0)
        count = 1;
    unsigned char *bytes = mallard_realloc(before.bytes, count);
    size_t common = before.count < count ? before.count : count;
    expect(bytes != NULL, "there is memory to grow");
    if (before.bytes) {
        object->bytes = before.bytes = bytes;
        check_paint(&before, common);
    }
    adopt(object, bytes, count, value);
}

static void steer(const uint8_t *code) {
    static const uint64_t rates[] = {0, 1, 64, 4096, 524288};
    if (code[2] & 1)
        mallard_set_mem_profile_rate(rates[code[3] % 5]);
    else
        mallard_malloc_trim(0);
}

static void check_stats(void) {
    struct mallard_memstats s = {.size = sizeof s};
    expect(mallard_read_memstats(&s) == 0, "statistics can be read");
    expect(s.heap_sys == s.heap_idle + s.heap_inuse && s.heap_released <= s.heap_idle &&
               s.heap_alloc <= s.heap_inuse && s.heap_objects == s.mallocs - s.frees,
           "the identities of MemStats hold");
}

static void execute(const uint8_t *code) {
    struct object *object = &slots[code[1] % SLOTS];
    size_t count = size_of(code);
    unsigned char value = (unsigned char)(code[2] ^ code[0]);
    switch (code[0] % 10) {
    case 0:
    case 1:
    case 2:
        release(object);
        adopt(object, mallard_malloc(count), count, value);
        break;
    case 3:
        release(object);
        make_zeroed(object, count, value);
        break;
    case 4:
        release(object);
        make_aligned(object, count, value);
        break;
    case 5:
    case 6:
        resize(object, count, value);
        break;
    case 7:
    case 8:
        release(object);
        break;
    default:
        steer(code);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    for (size_t at = 0; at + 4 <= bytes; at += 4)
        execute(data + at);
    check_stats();
    for (int i = 0; i < SLOTS; i++)
        release(&slots[i]);
    mallard_set_mem_profile_rate(524288);
    return 0;
}
