/* SPDX-License-Identifier: Apache-2.0
 *
 * C++ operator new and delete, without C++.
 *
 * The operators are defined here under their mangled names; each new exists in eight shapes and
 * each delete in twelve, and all of them come down to two functions. When memory is short, new
 * calls the program's new_handler until that gives up, and then throws std::bad_alloc. Both belong
 * to libstdc++, which is looked up weakly: a C program neither has it nor needs it. Exceptions pass
 * through these frames by their unwind tables.
 *
 * The nothrow shapes return NULL instead of throwing.
 *
 * SYNCHRONIZATION. None here, as in front/malloc.c.
 *
 * Must never be the reason to load libstdc++.
 */
#include "os/operators.h"
#include "front/fast.h"
#include "mallard/mallard.h"

#include <errno.h>
#include <stddef.h>

enum on_failure { THROW, RETURN_NULL };

/* One more try after each call of the handler; without a handler, or without libstdc++, the end. */
static MAL_SLOW void *retry(size_t bytes, size_t alignment, enum on_failure on_failure) {
    mal_new_handler handler;
    while ((handler = mal_current_new_handler()) != NULL) {
        handler();
        void *object = mal_alloc_aligned_unusual(bytes, alignment);
        if (object)
            return object;
    }
    if (on_failure == THROW)
        mal_throw_bad_alloc(bytes);
    return NULL;
}

MAL_FAST void *new_plain(size_t bytes, enum on_failure on_failure) {
    void *object = mal_alloc(bytes);
    return MAL_LIKELY(object != NULL) ? object : retry(bytes, 1, on_failure);
}

MAL_FAST void *new_aligned(size_t bytes, size_t alignment, enum on_failure on_failure) {
    void *object = alignment > 16 ? mal_alloc_aligned(bytes, alignment) : mal_alloc(bytes);
    return MAL_LIKELY(object != NULL) ? object : retry(bytes, alignment, on_failure);
}

void *mallard_new(size_t bytes) MAL_CXX_NAME("_Znwm");
MAL_PUBLIC void *mallard_new(size_t bytes) {
    return new_plain(bytes, THROW);
}

void *mallard_new_nothrow(size_t bytes, MAL_UNUSED const void *tag)
    MAL_CXX_NAME("_ZnwmRKSt9nothrow_t");
MAL_PUBLIC void *mallard_new_nothrow(size_t bytes, MAL_UNUSED const void *tag) {
    return new_plain(bytes, RETURN_NULL);
}

void *mallard_new_aligned(size_t bytes, size_t alignment) MAL_CXX_NAME("_ZnwmSt11align_val_t");
MAL_PUBLIC void *mallard_new_aligned(size_t bytes, size_t alignment) {
    return new_aligned(bytes, alignment, THROW);
}

void *mallard_new_aligned_nothrow(size_t bytes, size_t alignment, MAL_UNUSED const void *tag)
    MAL_CXX_NAME("_ZnwmSt11align_val_tRKSt9nothrow_t");
MAL_PUBLIC void *mallard_new_aligned_nothrow(size_t bytes, size_t alignment,
                                             MAL_UNUSED const void *tag) {
    return new_aligned(bytes, alignment, RETURN_NULL);
}

void *mallard_new_array(size_t bytes) MAL_CXX_NAME("_Znam");
MAL_PUBLIC void *mallard_new_array(size_t bytes) {
    return new_plain(bytes, THROW);
}

void *mallard_new_array_nothrow(size_t bytes, MAL_UNUSED const void *tag)
    MAL_CXX_NAME("_ZnamRKSt9nothrow_t");
MAL_PUBLIC void *mallard_new_array_nothrow(size_t bytes, MAL_UNUSED const void *tag) {
    return new_plain(bytes, RETURN_NULL);
}

void *mallard_new_array_aligned(size_t bytes, size_t alignment)
    MAL_CXX_NAME("_ZnamSt11align_val_t");
MAL_PUBLIC void *mallard_new_array_aligned(size_t bytes, size_t alignment) {
    return new_aligned(bytes, alignment, THROW);
}

void *mallard_new_array_aligned_nothrow(size_t bytes, size_t alignment, MAL_UNUSED const void *tag)
    MAL_CXX_NAME("_ZnamSt11align_val_tRKSt9nothrow_t");
MAL_PUBLIC void *mallard_new_array_aligned_nothrow(size_t bytes, size_t alignment,
                                                   MAL_UNUSED const void *tag) {
    return new_aligned(bytes, alignment, RETURN_NULL);
}

void mallard_delete(void *object) MAL_CXX_NAME("_ZdlPv");
MAL_PUBLIC void mallard_delete(void *object) {
    mal_delete(object);
}

void mallard_delete_sized(void *object, MAL_UNUSED size_t bytes) MAL_CXX_NAME("_ZdlPvm");
MAL_PUBLIC void mallard_delete_sized(void *object, MAL_UNUSED size_t bytes) {
    mal_delete(object);
}

void mallard_delete_nothrow(void *object, MAL_UNUSED const void *tag)
    MAL_CXX_NAME("_ZdlPvRKSt9nothrow_t");
MAL_PUBLIC void mallard_delete_nothrow(void *object, MAL_UNUSED const void *tag) {
    mal_delete(object);
}

void mallard_delete_aligned(void *object, MAL_UNUSED size_t alignment)
    MAL_CXX_NAME("_ZdlPvSt11align_val_t");
MAL_PUBLIC void mallard_delete_aligned(void *object, MAL_UNUSED size_t alignment) {
    mal_delete(object);
}

void mallard_delete_sized_aligned(void *object, MAL_UNUSED size_t bytes,
                                  MAL_UNUSED size_t alignment)
    MAL_CXX_NAME("_ZdlPvmSt11align_val_t");
MAL_PUBLIC void mallard_delete_sized_aligned(void *object, MAL_UNUSED size_t bytes,
                                             MAL_UNUSED size_t alignment) {
    mal_delete(object);
}

void mallard_delete_aligned_nothrow(void *object, MAL_UNUSED size_t alignment,
                                    MAL_UNUSED const void *tag)
    MAL_CXX_NAME("_ZdlPvSt11align_val_tRKSt9nothrow_t");
MAL_PUBLIC void mallard_delete_aligned_nothrow(void *object, MAL_UNUSED size_t alignment,
                                               MAL_UNUSED const void *tag) {
    mal_delete(object);
}

void mallard_delete_array(void *object) MAL_CXX_NAME("_ZdaPv");
MAL_PUBLIC void mallard_delete_array(void *object) {
    mal_delete(object);
}

void mallard_delete_array_sized(void *object, MAL_UNUSED size_t bytes) MAL_CXX_NAME("_ZdaPvm");
MAL_PUBLIC void mallard_delete_array_sized(void *object, MAL_UNUSED size_t bytes) {
    mal_delete(object);
}

void mallard_delete_array_nothrow(void *object, MAL_UNUSED const void *tag)
    MAL_CXX_NAME("_ZdaPvRKSt9nothrow_t");
MAL_PUBLIC void mallard_delete_array_nothrow(void *object, MAL_UNUSED const void *tag) {
    mal_delete(object);
}

void mallard_delete_array_aligned(void *object, MAL_UNUSED size_t alignment)
    MAL_CXX_NAME("_ZdaPvSt11align_val_t");
MAL_PUBLIC void mallard_delete_array_aligned(void *object, MAL_UNUSED size_t alignment) {
    mal_delete(object);
}

void mallard_delete_array_sized_aligned(void *object, MAL_UNUSED size_t bytes,
                                        MAL_UNUSED size_t alignment)
    MAL_CXX_NAME("_ZdaPvmSt11align_val_t");
MAL_PUBLIC void mallard_delete_array_sized_aligned(void *object, MAL_UNUSED size_t bytes,
                                                   MAL_UNUSED size_t alignment) {
    mal_delete(object);
}

void mallard_delete_array_aligned_nothrow(void *object, MAL_UNUSED size_t alignment,
                                          MAL_UNUSED const void *tag)
    MAL_CXX_NAME("_ZdaPvSt11align_val_tRKSt9nothrow_t");
MAL_PUBLIC void mallard_delete_array_aligned_nothrow(void *object, MAL_UNUSED size_t alignment,
                                                     MAL_UNUSED const void *tag) {
    mal_delete(object);
}
