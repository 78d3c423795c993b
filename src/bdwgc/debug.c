/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program calls that was built with GC_DEBUG: the same functions, each told by which file
 * and line. Boehm's put a header before each object and check it when it is freed; here samples
 * know their stacks, so file and line are not kept, there is no header, and objects of either kind
 * may be given to either kind of function.
 */
#include "bdwgc/private.h"

BDWGC_PUBLIC void *GC_debug_malloc(size_t bytes, const char *file, int line) {
    (void)file, (void)line;
    return GC_malloc(bytes);
}

BDWGC_PUBLIC void *GC_debug_malloc_ignore_off_page(size_t bytes, const char *file, int line) {
    return GC_debug_malloc(bytes, file, line);
}

BDWGC_PUBLIC void *GC_debug_malloc_stubborn(size_t bytes, const char *file, int line) {
    return GC_debug_malloc(bytes, file, line);
}

BDWGC_PUBLIC void *GC_debug_malloc_atomic(size_t bytes, const char *file, int line) {
    (void)file, (void)line;
    return GC_malloc_atomic(bytes);
}

BDWGC_PUBLIC void *GC_debug_malloc_atomic_ignore_off_page(size_t bytes, const char *file,
                                                          int line) {
    return GC_debug_malloc_atomic(bytes, file, line);
}

BDWGC_PUBLIC void *GC_debug_malloc_uncollectable(size_t bytes, const char *file, int line) {
    (void)file, (void)line;
    return GC_malloc_uncollectable(bytes);
}

BDWGC_PUBLIC void *GC_debug_malloc_atomic_uncollectable(size_t bytes, const char *file, int line) {
    (void)file, (void)line;
    return GC_malloc_atomic_uncollectable(bytes);
}

BDWGC_PUBLIC void *GC_debug_realloc(void *object, size_t bytes, const char *file, int line) {
    (void)file, (void)line;
    return GC_realloc(object, bytes);
}

BDWGC_PUBLIC void *GC_debug_malloc_replacement(size_t bytes) {
    return GC_malloc(bytes);
}

BDWGC_PUBLIC void *GC_debug_realloc_replacement(void *object, size_t bytes) {
    return GC_realloc(object, bytes);
}

BDWGC_PUBLIC void GC_debug_free(void *object) {
    GC_free(object);
}

BDWGC_PUBLIC char *GC_debug_strdup(const char *text, const char *file, int line) {
    (void)file, (void)line;
    return GC_strdup(text);
}

BDWGC_PUBLIC char *GC_debug_strndup(const char *text, size_t bytes, const char *file, int line) {
    (void)file, (void)line;
    return GC_strndup(text, bytes);
}

BDWGC_PUBLIC void GC_debug_register_displacement(size_t offset) {
    GC_register_displacement(offset);
}

BDWGC_PUBLIC void GC_debug_end_stubborn_change(const void *object) {
    GC_end_stubborn_change(object);
}

BDWGC_PUBLIC void GC_debug_ptr_store_and_dirty(void *place, const void *pointer) {
    GC_ptr_store_and_dirty(place, pointer);
}

BDWGC_PUBLIC void GC_debug_register_finalizer(void *object, GC_finalization_proc function,
                                              void *data, GC_finalization_proc *ret_function,
                                              void **ret_data) {
    GC_register_finalizer(object, function, data, ret_function, ret_data);
}

BDWGC_PUBLIC void GC_debug_register_finalizer_ignore_self(void *object,
                                                          GC_finalization_proc function, void *data,
                                                          GC_finalization_proc *ret_function,
                                                          void **ret_data) {
    GC_register_finalizer_ignore_self(object, function, data, ret_function, ret_data);
}

BDWGC_PUBLIC void GC_debug_register_finalizer_no_order(void *object, GC_finalization_proc function,
                                                       void *data,
                                                       GC_finalization_proc *ret_function,
                                                       void **ret_data) {
    GC_register_finalizer_no_order(object, function, data, ret_function, ret_data);
}

BDWGC_PUBLIC void GC_debug_register_finalizer_unreachable(void *object,
                                                          GC_finalization_proc function, void *data,
                                                          GC_finalization_proc *ret_function,
                                                          void **ret_data) {
    GC_register_finalizer_unreachable(object, function, data, ret_function, ret_data);
}
