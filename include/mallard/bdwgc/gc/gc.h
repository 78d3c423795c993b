/* SPDX-License-Identifier: Apache-2.0
 *
 * Mallard's collected heap under the names of the Boehm-Demers-Weiser collector, so that programs
 * written for it build and run unchanged:
 *
 *     cc -I.../mallard/bdwgc program.c -lmallard-bdwgc
 *
 * (pkg-config mallard-bdwgc says the whole of it). Binaries that were linked with libgc.so.1 run on
 * the same library: it is installed as mallard/bdwgc/libgc.so.1 too, for LD_LIBRARY_PATH. Put
 * libmallard-gc.so.0 into LD_PRELOAD as well where they have threads: then no call of theirs is
 * ever interrupted by a collection.
 *
 * There:
 *     allocation    GC_malloc and its _atomic, _uncollectable, _ignore_off_page, _stubborn forms,
 *                   realloc, free, memalign, strdup, malloc_many, typed objects; what a program
 *                   calls that was built with GC_DEBUG
 *     asking        GC_base, GC_size, GC_is_heap_ptr, heap sizes, counts, version; all objects one
 *                   after the other (gc/gc_mark.h)
 *     collecting    GC_gcollect, enable, disable, incremental, largest heap, free space divisor;
 *                   settings that have no effect answer what was set
 *     finalizers    GC_register_finalizer in all orders, in rings too without one, on demand,
 *                   notifier
 *     links         that disappear, short and long: register, move, unregister
 *     kinds         GC_new_kind, GC_generic_malloc and _many: scanned word by word, not at all, or
 *                   by mark procedures of the program's, GC_new_proc (gc/gc_mark.h)
 *     roots         GC_add_roots, remove, clear; pushed while marking, GC_push_all (gc/gc_mark.h)
 *     threads       the pthread redirections, registering, blocking regions, coroutines, fork
 *     words         out-of-memory, warning and abort procedures
 *
 * Not there, of what Boehm's headers declare and Debian's library has, because the collector works
 * otherwise or because no program was found that calls it:
 *     marks           GC_is_marked GC_clear_mark_bit GC_is_tmp_root GC_push_finalizer_structures
 *     the lock        GC_alloc_lock GC_alloc_unlock (a call with it is there)
 *     being told      GC_set_on_collection_event GC_get_on_collection_event
 *                     GC_set_on_heap_resize GC_get_on_heap_resize GC_on_heap_resize
 *                     GC_set_on_thread_event GC_get_on_thread_event
 *                     GC_set_await_finalize_proc GC_get_await_finalize_proc
 *     stopping        GC_stop_world_external GC_start_world_external GC_suspend_thread
 *                     GC_resume_thread GC_is_thread_suspended GC_set_suspend_signal
 *                     GC_set_thr_restart_signal
 *     toggled links   GC_toggleref_add GC_set_toggleref_func GC_get_toggleref_func
 *     other endings   GC_finalize_all GC_finalized_malloc GC_init_finalized_malloc
 *                     GC_register_disclaim_proc
 *     gcj's objects   GC_init_gcj_malloc GC_gcj_malloc GC_gcj_malloc_ignore_off_page
 *                     GC_debug_gcj_malloc GC_gcj_kind GC_gcj_debug_kind
 *     Boehm's layout  GC_debug_header_size GC_get_debug_header_size GC_get_kind_and_size
 *                     GC_get_size_map_at GC_print_free_list GC_register_describe_type_fn
 *                     GC_generic_malloc_uncollectable GC_generic_or_special_malloc
 *                     GC_debug_generic_or_special_malloc GC_clear_stack GC_clear_exclusion_table
 *                     GC_get_prof_stats GC_get_prof_stats_unsafe
 *     settings        GC_set_disable_automatic_collection GC_get_disable_automatic_collection
 *                     GC_set_time_limit_tv GC_get_time_limit_tv
 *     old variables   GC_finalizer_notifier GC_gc_no GC_max_retries GC_non_gc_bytes GC_oom_fn
 *                     GC_parallel GC_time_limit GC_use_entire_heap GC_same_obj_print_proc
 *                     GC_is_valid_displacement_print_proc GC_is_visible_print_proc
 *                     GC_debug_change_stubborn
 *
 * A program that calls one of these does not link: nothing is silently ignored that could lose an
 * object. Nor are cords, the C++ header and leak detection there. No package of Debian 12 that
 * needs libgc1 imports a name that is missing: asymptote, chase, crystal, debfoster, ecl, fauhdlc,
 * goo, guile, homfly, inkscape, libobjc, lilypond, macaulay2, mailutils, mmv, neko, nix, parser3,
 * poke, stalin and w3m.
 *
 * Where it behaves differently, the difference is on the safe side and stands beside the function.
 */
#ifndef MALLARD_BDWGC_GC_H
#define MALLARD_BDWGC_GC_H

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GC_VERSION_MAJOR 8
#define GC_VERSION_MINOR 2
#define GC_VERSION_MICRO 0

typedef uintptr_t GC_word;
typedef intptr_t GC_signed_word;

/* ---- set-up: all optional, the heap comes up with the first allocation ---- */
void GC_init(void);
int GC_is_init_called(void);
#define GC_INIT() GC_init()
unsigned GC_get_version(void); /* major << 16 | minor << 8 | micro */

/* ---- allocation: zeroed but for atomic objects' promise, which is zeroed here too ---- */
void *GC_malloc(size_t bytes);
void *GC_malloc_atomic(size_t bytes);        /* holds no pointers into the heap */
void *GC_malloc_uncollectable(size_t bytes); /* a root, until GC_free */
void *GC_malloc_ignore_off_page(size_t bytes);
void *GC_malloc_atomic_ignore_off_page(size_t bytes);
void *GC_malloc_atomic_uncollectable(size_t bytes);
void *GC_malloc_stubborn(size_t bytes);
void *GC_memalign(size_t alignment, size_t bytes); /* up to a page */
int GC_posix_memalign(void **ret, size_t alignment, size_t bytes);
void *GC_realloc(void *object, size_t bytes);
void GC_free(void *object); /* NULL is fine */
char *GC_strdup(const char *text);
char *GC_strndup(const char *text, size_t bytes);
void *GC_malloc_many(size_t bytes); /* a list of objects linked by their first words */
#define GC_NEXT(object) (*(void **)(object))

void *GC_base(void *pointer); /* start of the object; NULL: none */
size_t GC_size(const void *object);
int GC_is_heap_ptr(const void *pointer);
void *GC_is_visible(void *pointer); /* answers its argument */
void *GC_is_valid_displacement(void *pointer);
void GC_register_displacement(size_t offset); /* every offset is known */
void GC_end_stubborn_change(const void *object);
void GC_change_stubborn(const void *object);
void *GC_same_obj(void *pointer, void *other);      /* answers the first; ends the program if not */
void *GC_pre_incr(void **pointer, ptrdiff_t bytes); /* checked likewise */
void *GC_post_incr(void **pointer, ptrdiff_t bytes);
void GC_ptr_store_and_dirty(void *place, const void *pointer); /* a plain store */
void GC_noop1(GC_word value);

/* ---- collecting ---- */
typedef int (*GC_stop_func)(void);
void GC_gcollect(void);
void GC_gcollect_and_unmap(void);         /* and gives idle memory back */
int GC_try_to_collect(GC_stop_func stop); /* the stop function is not asked */
int GC_collect_a_little(void);            /* the collector runs beside the program anyway: 0 */
void GC_enable_incremental(void);         /* it always is */
int GC_is_incremental_mode(void);
void GC_enable(void);
void GC_disable(void); /* nests */
int GC_is_disabled(void);
int GC_expand_hp(size_t bytes);           /* growth is the pacer's: 1 */
void GC_set_max_heap_size(GC_word bytes); /* the soft limit of GOMEMLIMIT; 0: none */
void GC_set_free_space_divisor(
    GC_word divisor); /* percent of growth between cycles: 300 / divisor */
GC_word GC_get_free_space_divisor(void);
typedef void (*GC_start_callback_proc)(void);
/* Called before GC_gcollect collects; for a collection that begins by itself once, by the thread of
 * the program that allocates next. */
void GC_set_start_callback(GC_start_callback_proc callback);
GC_start_callback_proc GC_get_start_callback(void);
void GC_dump(void); /* prints nothing, nor do these; gctrace=1 does */
void GC_dump_named(const char *name);
void GC_dump_regions(void);
void GC_dump_finalization(void);
int GC_get_suspend_signal(void);     /* no thread of the program may block it */
int GC_get_thr_restart_signal(void); /* -1: none */
#define GC_TIME_UNLIMITED 999999

/* ---- settings: each answers what was set, and none has an effect ---- */
void GC_set_dont_expand(int value);
int GC_get_dont_expand(void);
void GC_set_dont_precollect(int value);
int GC_get_dont_precollect(void);
void GC_set_find_leak(int value);
int GC_get_find_leak(void);
void GC_set_force_unmap_on_gcollect(int value); /* GC_gcollect_and_unmap does */
int GC_get_force_unmap_on_gcollect(void);
void GC_set_full_freq(int value);
int GC_get_full_freq(void);
void GC_set_manual_vdb_allowed(int value);
int GC_get_manual_vdb_allowed(void);
void GC_set_max_prior_attempts(int value);
int GC_get_max_prior_attempts(void);
void GC_set_max_retries(GC_word value);
GC_word GC_get_max_retries(void);
void GC_set_min_bytes_allocd(size_t value);
size_t GC_get_min_bytes_allocd(void);
void GC_set_allocd_bytes_per_finalizer(GC_word value);
GC_word GC_get_allocd_bytes_per_finalizer(void);
void GC_set_non_gc_bytes(GC_word value);
GC_word GC_get_non_gc_bytes(void);
void GC_set_pages_executable(int value);
int GC_get_pages_executable(void);
void GC_set_rate(int value);
int GC_get_rate(void);
void GC_set_stop_func(GC_stop_func function);
GC_stop_func GC_get_stop_func(void);
void GC_set_time_limit(unsigned long milliseconds);
unsigned long GC_get_time_limit(void);
void GC_set_log_fd(int fd);
void GC_deinit(void);
void GC_start_incremental_collection(void);
int GC_incremental_protection_needs(void); /* none: 0 */
void GC_start_performance_measurement(void);

/* ---- figures ---- */
unsigned long GC_get_full_gc_total_time(void); /* ms of all pauses */
size_t GC_get_obtained_from_os_bytes(void);
size_t GC_get_expl_freed_bytes_since_gc(void); /* not counted apart: 0 */
GC_word GC_get_gc_no(void);
size_t GC_get_heap_size(void);
size_t GC_get_free_bytes(void);
size_t GC_get_unmapped_bytes(void);
size_t GC_get_bytes_since_gc(void);
size_t GC_get_total_bytes(void);
size_t GC_get_memory_use(void);
void GC_get_heap_usage_safe(GC_word *heap, GC_word *free, GC_word *unmapped, GC_word *since_gc,
                            GC_word *total); /* any may be NULL */

/* ---- roots: data segments of all objects are roots already ---- */
void GC_add_roots(void *low, void *above);
void GC_remove_roots(void *low, void *above);
void GC_clear_roots(void); /* what GC_add_roots added; segments stay roots */
void GC_exclude_static_roots(void *low, void *above); /* stays a root */
void GC_set_no_dls(int value);                        /* libraries stay roots */
int GC_get_no_dls(void);
typedef int (*GC_has_static_roots_func)(const char *library, void *low, size_t bytes);
void GC_register_has_static_roots_callback(GC_has_static_roots_func callback); /* likewise */
void GC_reachable_here(const void *object);

/* ---- finalizers, links that disappear ---- */
typedef void (*GC_finalization_proc)(void *object, void *data);
/* The procedure runs inside a later call of this library by a thread of the program, as Boehm's
 * does, and finds what the object leads to whole. Of objects that lead to each other
 *     by GC_register_finalizer, _ignore_self and _unreachable  the first is finalized first, in a
 *         ring none is; pointers of an object into itself do not count, in any of the three
 *     by _no_order  all are, in a ring too */
void GC_register_finalizer(void *object, GC_finalization_proc function, void *data,
                           GC_finalization_proc *ret_function, void **ret_data);
void GC_register_finalizer_ignore_self(void *object, GC_finalization_proc function, void *data,
                                       GC_finalization_proc *ret_function, void **ret_data);
void GC_register_finalizer_no_order(void *object, GC_finalization_proc function, void *data,
                                    GC_finalization_proc *ret_function, void **ret_data);
void GC_register_finalizer_unreachable(void *object, GC_finalization_proc function, void *data,
                                       GC_finalization_proc *ret_function, void **ret_data);
/* Links: *link becomes NULL when the object dies, while all threads are stopped, before its
 * finalizer runs; a long one once it cannot come back. Each that is registered makes every pause a
 * little longer. A disguised pointer must be revealed inside GC_call_with_alloc_lock. What is not
 * in the heap never dies. GC_SUCCESS, GC_DUPLICATE (now it is this object's), GC_NO_MEMORY (or the
 * word lies in an arena); moving: GC_DUPLICATE, GC_NOT_FOUND; unregistering: whether it was
 * registered. */
#define GC_NO_MEMORY 2
#define GC_NOT_FOUND 4
int GC_register_disappearing_link(void **link); /* to the object it lies in */
int GC_general_register_disappearing_link(void **link, const void *object);
int GC_move_disappearing_link(void **link, void **to);
int GC_unregister_disappearing_link(void **link);
int GC_register_long_link(void **link, const void *object);
int GC_move_long_link(void **link, void **to);
int GC_unregister_long_link(void **link);
#define GC_GENERAL_REGISTER_DISAPPEARING_LINK(link, object)                                        \
    GC_general_register_disappearing_link(link, object)
#define GC_REGISTER_LONG_LINK(link, object) GC_register_long_link(link, object)

int GC_invoke_finalizers(void); /* how many ran */
int GC_should_invoke_finalizers(void);
void GC_set_finalize_on_demand(int value);
int GC_get_finalize_on_demand(void);
typedef void (*GC_finalizer_notifier_proc)(void);
void GC_set_finalizer_notifier(GC_finalizer_notifier_proc notifier);
GC_finalizer_notifier_proc GC_get_finalizer_notifier(void);
void GC_set_java_finalization(int value);
int GC_get_java_finalization(void);

/* ---- threads: all are known by themselves ---- */
struct GC_stack_base {
    void *mem_base;
};
#define GC_SUCCESS 0
#define GC_DUPLICATE 1
#define GC_NO_THREADS 2
#define GC_UNIMPLEMENTED 3
int GC_get_stack_base(struct GC_stack_base *ret_base);
/* A coroutine's stack is found by the stack pointer: setting has no effect. */
extern char *GC_stackbottom;
void *GC_get_my_stackbottom(struct GC_stack_base *ret_base);
void GC_set_stackbottom(void *thread, const struct GC_stack_base *base);
void GC_register_altstack(void *stack, GC_word stack_bytes, void *altstack,
                          GC_word altstack_bytes); /* likewise */
int GC_register_my_thread(const struct GC_stack_base *base);
int GC_unregister_my_thread(void);
int GC_thread_is_registered(void);
void GC_allow_register_threads(void);
void GC_start_mark_threads(void);
int GC_get_parallel(void);
void GC_set_markers_count(unsigned count);
int GC_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                      void *argument);
int GC_pthread_join(pthread_t thread, void **ret_value);
int GC_pthread_detach(pthread_t thread);
int GC_pthread_cancel(pthread_t thread);
void GC_pthread_exit(void *value) __attribute__((noreturn));
#ifdef SIG_BLOCK /* a strictly ISO C program has no sets of signals */
/* Never blocks the signal that stops threads. */
int GC_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
#endif
void *GC_dlopen(const char *path, int mode);
typedef void *(*GC_fn_type)(void *data);
/* One at a time, and no collection stops the thread meanwhile: the function must be short, must not
 * allocate, and must not wait for other threads. */
void *GC_call_with_alloc_lock(GC_fn_type function, void *data);
void *GC_do_blocking(GC_fn_type function, void *data);
void *GC_call_with_gc_active(GC_fn_type function, void *data);
typedef void *(*GC_stack_base_func)(struct GC_stack_base *base, void *data);
void *GC_call_with_stack_base(GC_stack_base_func function, void *data);
void GC_set_handle_fork(int value);
void GC_atfork_prepare(void);
void GC_atfork_parent(void);
void GC_atfork_child(void);

/* ---- words to the program ---- */
typedef void (*GC_warn_proc)(char *format, GC_word argument);
void GC_set_warn_proc(GC_warn_proc procedure); /* nothing is ever warned of */
GC_warn_proc GC_get_warn_proc(void);
void GC_ignore_warn_proc(char *format, GC_word argument);
typedef void *(*GC_oom_func)(size_t bytes);
void GC_set_oom_fn(GC_oom_func function); /* asked when memory is short; its answer is returned */
GC_oom_func GC_get_oom_fn(void);
void GC_abort_on_oom(void); /* for allocators that call it themselves: one line, abort */
typedef void (*GC_abort_func)(const char *message);
void GC_set_abort_func(GC_abort_func function); /* never called */
GC_abort_func GC_get_abort_func(void);
void GC_set_all_interior_pointers(int value); /* they always count */
int GC_get_all_interior_pointers(void);

/* Old programs set these directly; they have no effect but the first, which is GC_disable. */
extern int GC_dont_gc;
extern int GC_all_interior_pointers, GC_finalize_on_demand, GC_java_finalization, GC_no_dls,
    GC_quiet, GC_find_leak, GC_dont_expand, GC_dont_precollect, GC_full_freq;
extern GC_word GC_free_space_divisor;

/* ---- typed objects ---- */
typedef GC_word *GC_bitmap;
typedef GC_word GC_descr;
#define GC_WORDSZ (8 * sizeof(GC_word))
#define GC_BITMAP_SIZE(type)                                                                       \
    ((sizeof(type) + sizeof(GC_word) * GC_WORDSZ - 1) / (sizeof(GC_word) * GC_WORDSZ))
#define GC_get_bit(map, index) (((map)[(index) / GC_WORDSZ] >> ((index) % GC_WORDSZ)) & 1)
#define GC_set_bit(map, index) ((map)[(index) / GC_WORDSZ] |= (GC_word)1 << ((index) % GC_WORDSZ))
#define GC_WORD_OFFSET(type, field) (offsetof(type, field) / sizeof(GC_word))
#define GC_WORD_LEN(type) (sizeof(type) / sizeof(GC_word))
/* The bit of a word says whether it may be a pointer; words behind the last bit are none. After 256
 * different descriptors all words are scanned. */
GC_descr GC_make_descriptor(const GC_word *bitmap, size_t words);
void *GC_malloc_explicitly_typed(size_t bytes, GC_descr descriptor);
void *GC_malloc_explicitly_typed_ignore_off_page(size_t bytes, GC_descr descriptor);
void *GC_calloc_explicitly_typed(size_t count, size_t bytes, GC_descr descriptor);

/* ---- pointers that the collector shall not see ---- */
typedef GC_word GC_hidden_pointer;
#define GC_HIDE_POINTER(pointer) (~(GC_hidden_pointer)(pointer))
#define GC_REVEAL_POINTER(hidden) ((void *)GC_HIDE_POINTER(hidden))

/* ---- the same for programs that are built with GC_DEBUG: file and line are not kept ---- */
void *GC_debug_malloc(size_t bytes, const char *file, int line);
void *GC_debug_malloc_ignore_off_page(size_t bytes, const char *file, int line);
void *GC_debug_malloc_stubborn(size_t bytes, const char *file, int line);
void *GC_debug_malloc_atomic(size_t bytes, const char *file, int line);
void *GC_debug_malloc_atomic_ignore_off_page(size_t bytes, const char *file, int line);
void *GC_debug_malloc_uncollectable(size_t bytes, const char *file, int line);
void *GC_debug_malloc_atomic_uncollectable(size_t bytes, const char *file, int line);
void *GC_debug_realloc(void *object, size_t bytes, const char *file, int line);
void *GC_debug_malloc_replacement(size_t bytes);
void *GC_debug_realloc_replacement(void *object, size_t bytes);
void GC_debug_free(void *object);
char *GC_debug_strdup(const char *text, const char *file, int line);
char *GC_debug_strndup(const char *text, size_t bytes, const char *file, int line);
void GC_debug_register_displacement(size_t offset);
void GC_debug_end_stubborn_change(const void *object);
void GC_debug_ptr_store_and_dirty(void *place, const void *pointer);
void GC_debug_register_finalizer(void *object, GC_finalization_proc function, void *data,
                                 GC_finalization_proc *ret_function, void **ret_data);
void GC_debug_register_finalizer_ignore_self(void *object, GC_finalization_proc function,
                                             void *data, GC_finalization_proc *ret_function,
                                             void **ret_data);
void GC_debug_register_finalizer_no_order(void *object, GC_finalization_proc function, void *data,
                                          GC_finalization_proc *ret_function, void **ret_data);
void GC_debug_register_finalizer_unreachable(void *object, GC_finalization_proc function,
                                             void *data, GC_finalization_proc *ret_function,
                                             void **ret_data);

/* ---- what most programs write ---- */
#define GC_MALLOC(bytes) GC_malloc(bytes)
#define GC_MALLOC_ATOMIC(bytes) GC_malloc_atomic(bytes)
#define GC_MALLOC_UNCOLLECTABLE(bytes) GC_malloc_uncollectable(bytes)
#define GC_MALLOC_STUBBORN(bytes) GC_malloc_stubborn(bytes)
#define GC_MALLOC_IGNORE_OFF_PAGE(bytes) GC_malloc_ignore_off_page(bytes)
#define GC_MALLOC_ATOMIC_IGNORE_OFF_PAGE(bytes) GC_malloc_atomic_ignore_off_page(bytes)
#define GC_MALLOC_ATOMIC_UNCOLLECTABLE(bytes) GC_malloc_atomic_uncollectable(bytes)
#define GC_REALLOC(object, bytes) GC_realloc(object, bytes)
#define GC_FREE(object) GC_free(object)
#define GC_STRDUP(text) GC_strdup(text)
#define GC_STRNDUP(text, bytes) GC_strndup(text, bytes)
#define GC_NEW(type) ((type *)GC_malloc(sizeof(type)))
#define GC_NEW_ATOMIC(type) ((type *)GC_malloc_atomic(sizeof(type)))
#define GC_NEW_STUBBORN(type) ((type *)GC_malloc_stubborn(sizeof(type)))
#define GC_NEW_UNCOLLECTABLE(type) ((type *)GC_malloc_uncollectable(sizeof(type)))
#define GC_REGISTER_DISPLACEMENT(offset) GC_register_displacement(offset)
#define GC_END_STUBBORN_CHANGE(object) GC_end_stubborn_change(object)
#define GC_PTR_ADD(pointer, count) ((pointer) + (count))
#define GC_PRE_INCR(pointer, count) ((pointer) += (count))
#define GC_POST_INCR(pointer) ((pointer)++)
#define GC_POST_DECR(pointer) ((pointer)--)
#define GC_PTR_STORE(place, pointer) (*(void **)(place) = (void *)(pointer))
#define GC_PTR_STORE_AND_DIRTY(place, pointer) GC_ptr_store_and_dirty(place, pointer)
#define GC_REGISTER_FINALIZER(object, function, data, ret_function, ret_data)                      \
    GC_register_finalizer(object, function, data, ret_function, ret_data)
#define GC_REGISTER_FINALIZER_IGNORE_SELF(object, function, data, ret_function, ret_data)          \
    GC_register_finalizer_ignore_self(object, function, data, ret_function, ret_data)
#define GC_REGISTER_FINALIZER_NO_ORDER(object, function, data, ret_function, ret_data)             \
    GC_register_finalizer_no_order(object, function, data, ret_function, ret_data)
#define GC_REGISTER_FINALIZER_UNREACHABLE(object, function, data, ret_function, ret_data)          \
    GC_register_finalizer_unreachable(object, function, data, ret_function, ret_data)

/* With GC_THREADS defined before inclusion, as Boehm's header does it. */
#if defined(GC_THREADS) && !defined(GC_NO_THREAD_REDIRECTS)
#define pthread_create GC_pthread_create
#define pthread_join GC_pthread_join
#define pthread_detach GC_pthread_detach
#define pthread_cancel GC_pthread_cancel
#define pthread_exit GC_pthread_exit
#define pthread_sigmask GC_pthread_sigmask
#define dlopen GC_dlopen
#endif

#ifdef __cplusplus
}
#endif

#endif
