/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects of a type that ends in an array.
 *
 * Path up: the bytes are added up here, the rest is gc/alloc.c. Path down: none.
 *
 * SYNCHRONIZATION: none. An object that is resized belongs to the caller.
 *
 * Must never hand out bytes that are not zero.
 */
#include "gc/alloc.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/no_memory.h"
#include "mallard/gc.h"

#include <string.h>

/* Bytes of an object with `count` elements; SIZE_MAX when there is no such number. */
static size_t flex_bytes(const struct mallard_gc_type *type, size_t count) {
    size_t array, bytes;
    if (__builtin_mul_overflow(count, type->element_bytes, &array) ||
        __builtin_add_overflow(array, type->array_offset, &bytes))
        return SIZE_MAX;
    return mal_max(bytes, type->bytes);
}

MAL_PUBLIC void *mallard_gc_new_flex(const struct mallard_gc_type *type, size_t count) {
    if (!type)
        mal_die("mallard_gc_new_flex: the type is NULL");
    size_t bytes = flex_bytes(type, count);
    if (bytes >= PTRDIFF_MAX)
        return mal_no_memory();
    return mal_gc_alloc_typed(mal_gc_with_end(bytes), type, MAL_GC_LAYOUT_FLEX);
}

/* What lies behind the last element shall be zero when the array grows into it. */
MAL_PUBLIC void *mallard_gc_resize_flex(void *object, const struct mallard_gc_type *type,
                                        size_t count) {
    if (!object)
        return mallard_gc_new_flex(type, count);
    if (!type)
        mal_die("mallard_gc_resize_flex: the type is NULL");
    size_t bytes = flex_bytes(type, count);
    size_t room = mallard_gc_size(object);
    if (room == 0)
        mal_die("mallard_gc_resize_flex(%p): this is not the start of a collected object", object);
    if (bytes < room) {
        memset((char *)object + bytes, 0, room - bytes);
        return object;
    }
    void *larger = mallard_gc_new_flex(type, count);
    if (larger)
        memcpy(larger, object, room);
    return larger;
}
