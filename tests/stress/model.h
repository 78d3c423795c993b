/* SPDX-License-Identifier: Apache-2.0
 *
 * A model that owns every object of a program under torture.
 *
 * An object is known by address, size, what the allocator said is usable, its alignment, and a
 * pattern that only its owner could have written. Beside the heap lies a map with one byte for
 * every 16 of it: whose object is there. An object claims its bytes when it is born and gives them
 * up before it is freed, so two that overlap meet in the map, even where neither was written to.
 *
 *     somebody wrote into an object    the pattern is not what it was
 *     overlap                          a byte of the map is claimed already, or was lost
 *     misaligned, short, no memory     as it says
 *     usable size changed              malloc_usable_size says something else than at birth
 *     dirt                             calloc's memory is not zero
 *
 * SYNCHRONIZATION: an object belongs to one thread at a time; who hands one over does it through a
 * lock of their own. A byte of the map belongs to the object that claimed it.
 *
 * A contradiction prints what and whose, and the seed, and aborts.
 */
#ifndef MAL_TESTS_STRESS_MODEL_H
#define MAL_TESTS_STRESS_MODEL_H

#include "support/seeded.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAP_GRANULE_BYTES 16u
#define MAP_WINDOW_BYTES (64ull << 30) /* of heap, around the first object */

struct object {
    unsigned char *bytes; /* NULL: there is none */
    size_t size_bytes;    /* as asked for */
    size_t usable_bytes;
    size_t alignment;
    uint64_t pattern;
};

static uint64_t model_seed;
static const char *model_scene = "";
static uint8_t *model_map;
static uintptr_t model_base;

static inline void contradicted(const char *what, const struct object *object) {
    char line[256];
    int length = snprintf(line, sizeof line,
                          "FAIL %s: %s: object %p of %zu bytes, %zu usable; again: SEED=%lu\n",
                          model_scene, what, (void *)object->bytes, object->size_bytes,
                          object->usable_bytes, (unsigned long)model_seed);
    if (fwrite(line, 1, (size_t)length, stdout) == (size_t)length)
        fflush(stdout);
    abort();
}

/* ---- the map ---- */

static inline void model_start(uint64_t seed, const char *scene) {
    model_seed = seed;
    model_scene = scene;
    void *first = malloc(16);
    model_base = ((uintptr_t)first & ~(MAP_GRANULE_BYTES - 1ull)) - MAP_WINDOW_BYTES / 2;
    free(first);
    model_map = mmap(NULL, MAP_WINDOW_BYTES / MAP_GRANULE_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (model_map == MAP_FAILED)
        abort();
}

/* The object's bytes in the map; what lies outside the window is not watched. */
static inline uint8_t *map_of(const struct object *object, size_t *ret_count) {
    uintptr_t offset = (uintptr_t)object->bytes - model_base;
    *ret_count = (object->usable_bytes + MAP_GRANULE_BYTES - 1) / MAP_GRANULE_BYTES;
    bool inside = offset < MAP_WINDOW_BYTES && object->usable_bytes < MAP_WINDOW_BYTES - offset;
    return inside ? model_map + offset / MAP_GRANULE_BYTES : NULL;
}

/* Every byte must be `from`, and becomes `to`. */
static inline void change_map(const struct object *object, uint8_t from, uint8_t to) {
    size_t count;
    uint8_t *map = map_of(object, &count);
    for (size_t i = 0; map && i < count; i++)
        if (map[i] != from)
            contradicted("overlap", object);
    if (map)
        memset(map, to, count);
}

static inline uint8_t mark_of(const struct object *object) {
    return (uint8_t)(object->pattern | 1);
}

/* ---- the content ---- */

/* Small objects are painted whole; of large ones a byte a page and the end. */
static inline size_t stride_of(const struct object *object) {
    return object->usable_bytes <= 4096 ? 1 : 1021;
}

static inline unsigned char byte_at(const struct object *object, size_t at) {
    return (unsigned char)(object->pattern >> (at % 8 * 8));
}

static inline void paint(const struct object *object) {
    for (size_t at = 0; at < object->usable_bytes; at += stride_of(object))
        object->bytes[at] = byte_at(object, at);
    if (object->usable_bytes)
        object->bytes[object->usable_bytes - 1] = byte_at(object, object->usable_bytes - 1);
}

/* The first `count` bytes, as they were painted. */
static inline void check_paint(const struct object *object, size_t count) {
    for (size_t at = 0; at < count; at += stride_of(object))
        if (object->bytes[at] != byte_at(object, at))
            contradicted("somebody wrote into an object", object);
    size_t last = object->usable_bytes - 1;
    if (count == object->usable_bytes && count > 0 && object->bytes[last] != byte_at(object, last))
        contradicted("somebody wrote to the end of an object", object);
}

static inline void check_object(const struct object *object) {
    if (malloc_usable_size(object->bytes) != object->usable_bytes)
        contradicted("usable size changed", object);
    check_paint(object, object->usable_bytes);
}

/* ---- birth, change, death ---- */

/* Takes an object in, that was just allocated. */
static inline void adopt(struct object *object, uint64_t *random) {
    object->pattern = seeded_next(random);
    object->usable_bytes = object->bytes ? malloc_usable_size(object->bytes) : 0;
    if (!object->bytes)
        contradicted("no memory", object);
    if ((uintptr_t)object->bytes % object->alignment)
        contradicted("misaligned", object);
    if (object->usable_bytes < object->size_bytes)
        contradicted("short", object);
    change_map(object, 0, mark_of(object));
    paint(object);
}

static inline void check_zero(const struct object *object) {
    for (size_t at = 0; object->bytes && at < object->size_bytes;
         at += object->size_bytes <= 4096 ? 1 : 509)
        if (object->bytes[at])
            contradicted("dirt from calloc", object);
}

static inline void make(struct object *object, size_t size_bytes, uint64_t *random) {
    uint64_t way = seeded_next(random) % 16;
    *object = (struct object){.size_bytes = size_bytes, .alignment = 16};
    if (way == 0) {
        object->alignment = (size_t)16 << seeded_next(random) % 10;
        object->bytes = aligned_alloc(object->alignment, size_bytes);
    } else if (way <= 3) {
        object->bytes = calloc(1, size_bytes);
        check_zero(object);
    } else {
        object->bytes = malloc(size_bytes);
    }
    adopt(object, random);
}

static inline void destroy(struct object *object) {
    check_object(object);
    change_map(object, mark_of(object), 0);
    free(object->bytes);
    object->bytes = NULL;
}

/* What both have must have survived; the old paint is only where its stride put it. */
static inline void resize(struct object *object, size_t size_bytes, uint64_t *random) {
    struct object before = *object;
    check_object(object);
    change_map(object, mark_of(object), 0);
    object->size_bytes = size_bytes;
    object->alignment = 16;
    object->bytes = realloc(object->bytes, size_bytes);
    before.bytes = object->bytes;
    if (object->bytes) {
        size_t survives = before.usable_bytes < size_bytes ? before.usable_bytes : size_bytes;
        check_paint(&before, survives);
    }
    adopt(object, random);
}

#endif
