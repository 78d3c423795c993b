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
 * The nothrow shapes return NULL instead of throwing, whatever the handler throws. Only C++ can
 * catch: where there is a handler, libstdc++'s shape is called, which asks the one of ours that
 * throws. So it is where the program has a plain operator of its own (front/lacking.c).
 *
 * SYNCHRONIZATION. None here, as in front/malloc.c; `libstdcxx` gets one value, whoever finds it.
 *
 * Must never be the reason to load libstdc++.
 */
#include "os/operators.h"
#include "base/atomic.h"
#include "front/fast.h"
#include "front/lacking.h"
#include "mallard/mallard.h"

#include <stdbool.h>
#include <stddef.h>

/* One more try after each call of the handler; without a handler, or without libstdc++, NULL. */
static MAL_SLOW void *retry(size_t bytes, size_t alignment) {
    mal_new_handler handler;
    while ((handler = mal_current_new_handler()) != NULL) {
        handler();
        void *object = mal_alloc_aligned_unusual(bytes, alignment);
        if (object)
            return object;
    }
    return NULL;
}

static MAL_SLOW void *retry_or_throw(size_t bytes, size_t alignment) {
    void *object = retry(bytes, alignment);
    if (!object)
        mal_throw_bad_alloc(bytes);
    return object;
}

MAL_FAST void *new_plain(size_t bytes) {
    void *object = mal_alloc(bytes);
    return MAL_LIKELY(object != NULL) ? object : retry_or_throw(bytes, 1);
}

MAL_FAST void *alloc_aligned(size_t bytes, size_t alignment) {
    return alignment > 16 ? mal_alloc_aligned(bytes, alignment) : mal_alloc(bytes);
}

MAL_FAST void *new_aligned(size_t bytes, size_t alignment) {
    void *object = alloc_aligned(bytes, alignment);
    return MAL_LIKELY(object != NULL) ? object : retry_or_throw(bytes, alignment);
}

/* ---- nothrow ---- */

typedef void *nothrow_function(size_t bytes, const void *tag);
typedef void *aligned_nothrow_function(size_t bytes, size_t alignment, const void *tag);

static void *libstdcxx[MAL_NEW_COUNT]; /* relaxed atomics */

static void *libstdcxx_shape(enum mal_new shape) {
    static const char *const names[MAL_NEW_COUNT] = {
        [MAL_NEW] = "_ZnwmRKSt9nothrow_t",
        [MAL_NEW_ARRAY] = "_ZnamRKSt9nothrow_t",
        [MAL_NEW_ALIGNED] = "_ZnwmSt11align_val_tRKSt9nothrow_t",
        [MAL_NEW_ARRAY_ALIGNED] = "_ZnamSt11align_val_tRKSt9nothrow_t",
    };
    void *known = mal_load_relaxed(&libstdcxx[shape]);
    if (known)
        return known;
    known = mal_libstdcxx_operator(names[shape]);
    mal_store_relaxed(&libstdcxx[shape], known);
    return known;
}

static MAL_SLOW void *nothrow_unusual(size_t bytes, enum mal_new shape, const void *tag) {
    bool is_ours = mal_new_is_ours(shape);
    nothrow_function *theirs = NULL;
    if (!is_ours || mal_current_new_handler())
        theirs = (nothrow_function *)libstdcxx_shape(shape);
    if (theirs)
        return theirs(bytes, tag);
    return is_ours ? retry(bytes, 1) : mal_alloc(bytes);
}

static MAL_SLOW void *aligned_nothrow_unusual(size_t bytes, size_t alignment, enum mal_new shape,
                                              const void *tag) {
    bool is_ours = mal_new_is_ours(shape);
    aligned_nothrow_function *theirs = NULL;
    if (!is_ours || mal_current_new_handler())
        theirs = (aligned_nothrow_function *)libstdcxx_shape(shape);
    if (theirs)
        return theirs(bytes, alignment, tag);
    return is_ours ? retry(bytes, alignment) : alloc_aligned(bytes, alignment);
}

static inline void *new_nothrow(size_t bytes, enum mal_new shape, const void *tag) {
    void *object = mal_new_is_ours(shape) ? mal_alloc(bytes) : NULL;
    return object ? object : nothrow_unusual(bytes, shape, tag);
}

static inline void *new_aligned_nothrow(size_t bytes, size_t alignment, enum mal_new shape,
                                        const void *tag) {
    void *object = mal_new_is_ours(shape) ? alloc_aligned(bytes, alignment) : NULL;
    return object ? object : aligned_nothrow_unusual(bytes, alignment, shape, tag);
}

/* ---- the shapes ---- */

void *mallard_new(size_t bytes) MAL_CXX_NAME("_Znwm");
MAL_PUBLIC void *mallard_new(size_t bytes) {
    return new_plain(bytes);
}

void *mallard_new_nothrow(size_t bytes, const void *tag) MAL_CXX_NAME("_ZnwmRKSt9nothrow_t");
MAL_PUBLIC void *mallard_new_nothrow(size_t bytes, const void *tag) {
    return new_nothrow(bytes, MAL_NEW, tag);
}

void *mallard_new_aligned(size_t bytes, size_t alignment) MAL_CXX_NAME("_ZnwmSt11align_val_t");
MAL_PUBLIC void *mallard_new_aligned(size_t bytes, size_t alignment) {
    return new_aligned(bytes, alignment);
}

void *mallard_new_aligned_nothrow(size_t bytes, size_t alignment, const void *tag)
    MAL_CXX_NAME("_ZnwmSt11align_val_tRKSt9nothrow_t");
MAL_PUBLIC void *mallard_new_aligned_nothrow(size_t bytes, size_t alignment, const void *tag) {
    return new_aligned_nothrow(bytes, alignment, MAL_NEW_ALIGNED, tag);
}

void *mallard_new_array(size_t bytes) MAL_CXX_NAME("_Znam");
MAL_PUBLIC void *mallard_new_array(size_t bytes) {
    return new_plain(bytes);
}

void *mallard_new_array_nothrow(size_t bytes, const void *tag) MAL_CXX_NAME("_ZnamRKSt9nothrow_t");
MAL_PUBLIC void *mallard_new_array_nothrow(size_t bytes, const void *tag) {
    return new_nothrow(bytes, MAL_NEW_ARRAY, tag);
}

void *mallard_new_array_aligned(size_t bytes, size_t alignment)
    MAL_CXX_NAME("_ZnamSt11align_val_t");
MAL_PUBLIC void *mallard_new_array_aligned(size_t bytes, size_t alignment) {
    return new_aligned(bytes, alignment);
}

void *mallard_new_array_aligned_nothrow(size_t bytes, size_t alignment, const void *tag)
    MAL_CXX_NAME("_ZnamSt11align_val_tRKSt9nothrow_t");
MAL_PUBLIC void *mallard_new_array_aligned_nothrow(size_t bytes, size_t alignment,
                                                   const void *tag) {
    return new_aligned_nothrow(bytes, alignment, MAL_NEW_ARRAY_ALIGNED, tag);
}

void mallard_delete(void *object) MAL_CXX_NAME("_ZdlPv");
MAL_PUBLIC void mallard_delete(void *object) {
    mal_delete(object);
}

void mallard_delete_sized(void *object, MAL_UNUSED size_t bytes) MAL_CXX_NAME("_ZdlPvm");
MAL_PUBLIC void mallard_delete_sized(void *object, MAL_UNUSED size_t bytes) {
    mal_delete_shape(object);
}

void mallard_delete_nothrow(void *object, MAL_UNUSED const void *tag)
    MAL_CXX_NAME("_ZdlPvRKSt9nothrow_t");
MAL_PUBLIC void mallard_delete_nothrow(void *object, MAL_UNUSED const void *tag) {
    mal_delete_shape(object);
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
    mal_delete_array_shape(object);
}

void mallard_delete_array_nothrow(void *object, MAL_UNUSED const void *tag)
    MAL_CXX_NAME("_ZdaPvRKSt9nothrow_t");
MAL_PUBLIC void mallard_delete_array_nothrow(void *object, MAL_UNUSED const void *tag) {
    mal_delete_array_shape(object);
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
