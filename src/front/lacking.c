/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of the family that many an allocator lacks.
 *
 * Where another malloc comes before ours (LD_PRELOAD="libjemalloc.so libmallard.so"), the program
 * gets its malloc and its free; but from us what that one does not define, as from libc. libc's
 * reallocarray calls whichever realloc comes first, and so do these: an object must go back to
 * whoever made it. Of C++ the same holds for delete with a size or an alignment; those are too hot
 * for a detour, so they come to us, and their objects prove to be foreign in the end.
 *
 * A program may also have a plain operator new and delete of its own, with a header before each
 * object for instance, and no others. libstdc++'s other shapes ask the plain ones; ours do in the
 * end: a delete that is handed what is no object of ours, and a new with nothrow at once, since
 * what it gives may come back by the program's own delete. Of an array both ends are ours.
 *
 * What free gets is never passed on: another `free` comes before ours, so nobody reached ours but
 * through that one (a wrapper that forwards to the next), which would forward it again, for ever.
 *
 * SYNCHRONIZATION. None.
 */
#include "front/lacking.h"

#include "base/bits.h"
#include "base/no_memory.h"
#include "mallard/mallard.h"
#include "os/alias.h"
#include "os/operators.h"
#include "os/text.h"
#include "os/vm.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>

void *mal_first_reallocarray(void *pointer, size_t count, size_t bytes);
void *mal_first_pvalloc(size_t bytes);
void mal_first_cfree(void *pointer);
void mal_first_free_sized(void *pointer, size_t bytes);
void mal_first_free_aligned_sized(void *pointer, size_t alignment, size_t bytes);

MAL_HIDDEN void *mal_first_reallocarray(void *pointer, size_t count, size_t bytes) {
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total))
        return mal_no_memory();
    return realloc(pointer, total);
}

MAL_HIDDEN void *mal_first_pvalloc(size_t bytes) {
    size_t page_bytes = mal_vm_page_bytes();
    if (bytes > PTRDIFF_MAX)
        return mal_no_memory();
    return memalign(page_bytes, mal_round_up(mal_max(bytes, 1), page_bytes));
}

MAL_HIDDEN void mal_first_cfree(void *pointer) {
    free(pointer);
}

MAL_HIDDEN void mal_first_free_sized(void *pointer, size_t bytes) {
    (void)bytes;
    free(pointer);
}

MAL_HIDDEN void mal_first_free_aligned_sized(void *pointer, size_t alignment, size_t bytes) {
    (void)alignment;
    (void)bytes;
    free(pointer);
}

bool mal_first_free(void *pointer) {
    void (*first)(void *) = MAL_FIRST(free, mallard_free);
    if (first == mallard_free)
        return false;
    first(pointer);
    return true;
}

/* Found as the program finds them. */
void *mallard_new(size_t bytes) MAL_CXX_NAME("_Znwm");
void *mallard_new_array(size_t bytes) MAL_CXX_NAME("_Znam");
void *mallard_new_aligned(size_t bytes, size_t alignment) MAL_CXX_NAME("_ZnwmSt11align_val_t");
void *mallard_new_array_aligned(size_t bytes, size_t alignment)
    MAL_CXX_NAME("_ZnamSt11align_val_t");
void mallard_delete(void *object) MAL_CXX_NAME("_ZdlPv");
void mallard_delete_array(void *object) MAL_CXX_NAME("_ZdaPv");

static bool is_ours(const void *code) {
    struct mal_text_range own = mal_text_range();
    return code >= own.low && code < own.high;
}

static bool end_by(void (*first)(void *), void *object) {
    if (is_ours((const void *)first))
        return false;
    first(object);
    return true;
}

bool mal_first_delete(void *object) {
    return end_by(mallard_delete, object);
}

bool mal_first_delete_array(void *object) {
    return end_by(mallard_delete_array, object);
}

bool mal_new_is_ours(enum mal_new operator) {
    static const void *const first[MAL_NEW_COUNT] = {
        [MAL_NEW] = (const void *)mallard_new,
        [MAL_NEW_ARRAY] = (const void *)mallard_new_array,
        [MAL_NEW_ALIGNED] = (const void *)mallard_new_aligned,
        [MAL_NEW_ARRAY_ALIGNED] = (const void *)mallard_new_array_aligned,
    };
    return is_ours(first[operator]);
}

MAL_ALIAS(reallocarray, mal_first_reallocarray);
MAL_ALIAS(pvalloc, mal_first_pvalloc);
MAL_ALIAS(cfree, mal_first_cfree);
MAL_ALIAS(free_sized, mal_first_free_sized);
MAL_ALIAS(free_aligned_sized, mal_first_free_aligned_sized);
