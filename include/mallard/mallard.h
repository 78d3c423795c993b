/* SPDX-License-Identifier: Apache-2.0
 *
 * Mallard: a memory allocator you can ask.
 *
 * Linking with -lmallard, or preloading libmallard.so, replaces malloc, free and C++ new and delete
 * in the whole program; nothing here needs to be called for that. These functions ask and steer.
 *
 * C99 and C++. Every function may be called by any thread at any time after main has begun, and
 * none may be called from a signal handler. Functions that can fail return 0 or a negative errno.
 */
#ifndef MALLARD_MALLARD_H
#define MALLARD_MALLARD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "major.minor.patch" of the library in use. */
const char *mallard_version(void);

/* ---- the allocator under names of its own ---------------------------------------------------- *
 *
 * The same functions that libc's names reach. Useful where both allocators are wanted side by side;
 * memory from one may be freed through the other name, since they are the same. Sizes in bytes.
 * NULL and errno ENOMEM when memory is short or the size is above PTRDIFF_MAX. */
void *mallard_malloc(size_t bytes);
void *mallard_calloc(size_t count, size_t bytes);
void *mallard_realloc(void *pointer, size_t bytes);
void *mallard_reallocarray(void *pointer, size_t count, size_t bytes);
void mallard_free(void *pointer);
void *mallard_aligned_alloc(size_t alignment, size_t bytes);
int mallard_posix_memalign(void **ret_pointer, size_t alignment, size_t bytes); /* EINVAL, ENOMEM */
size_t mallard_malloc_usable_size(void *pointer);

/* ---- statistics ------------------------------------------------------------------------------ */

/* What the heap is made of, in bytes unless said. Mirrors Go's runtime.MemStats, field by field:
 *     sys        = heap_sys + stack_sys + mspan_sys + mcache_sys + buck_hash_sys + gc_sys +
 * other_sys heap_sys   = heap_idle + heap_inuse;   heap_released <= heap_idle heap_alloc =
 * total_alloc - bytes ever freed <= heap_inuse;   heap_objects = mallocs - frees Objects count with
 * the size of their size class. */
struct mallard_memstats {
    uint64_t size; /* set to sizeof(struct mallard_memstats) by the caller */
    uint64_t alloc;
    uint64_t total_alloc;
    uint64_t sys;
    uint64_t mallocs; /* objects */
    uint64_t frees;   /* objects */
    uint64_t heap_alloc;
    uint64_t heap_sys;
    uint64_t heap_idle;
    uint64_t heap_inuse;
    uint64_t heap_released;
    uint64_t heap_objects; /* objects */
    uint64_t stack_inuse;
    uint64_t stack_sys;
    uint64_t mspan_inuse;
    uint64_t mspan_sys;
    uint64_t mcache_inuse;
    uint64_t mcache_sys;
    uint64_t buck_hash_sys;
    uint64_t gc_sys;
    uint64_t other_sys;
};

/* Fills the first `stats->size` bytes. Takes some microseconds; other threads go on meanwhile, and
 * the equations above hold in what is returned. Go: runtime.ReadMemStats. -EINVAL: size is 0. */
int mallard_read_memstats(struct mallard_memstats *stats);

/* ---- profiling ------------------------------------------------------------------------------- */

/* Mean number of allocated bytes between samples: 0 switches sampling off, 1 samples everything,
 * the default is 524288; above 0x70000000 counts as that. In force in every thread when the call
 * returns. Returns the previous rate. Go: runtime.MemProfileRate. */
uint64_t mallard_set_mem_profile_rate(uint64_t bytes);
uint64_t mallard_mem_profile_rate(void);

/* Writes the heap profile as gzipped profile.proto to a descriptor, for `go tool pprof`. Loads
 * libmallard-http.so. Go: pprof.WriteHeapProfile. -ENOSYS: the library is not installed; -EIO and
 * others from write. */
int mallard_write_heap_profile(int fd);

/* ---- memory ---------------------------------------------------------------------------------- */

/* Returns all idle memory to the OS, caches of all CPUs included where they can be reached. Returns
 * the number of bytes given back. May take milliseconds. Go: debug.FreeOSMemory. */
uint64_t mallard_free_os_memory(void);

/* The most that Mallard should have from the OS, in bytes: objects, free memory that was not given
 * back, and its own tables; not what the program maps itself. 0 .. INT64_MAX, which is no limit and
 * the default; a negative number changes nothing. In force in every thread when the call returns;
 * no call of malloc ever fails because of it. What is too much already goes back within seconds, as
 * far as it is free: in the background, and by threads that allocate. Returns the previous limit.
 * The environment variable is MALLARD_GOMEMLIMIT, else GOMEMLIMIT. Go: debug.SetMemoryLimit. */
int64_t mallard_set_memory_limit(int64_t bytes);

/* ---- HTTP ------------------------------------------------------------------------------------ */

/* Serves /debug/pprof/ and its companions from a thread of this process. `address` is HOST:PORT,
 * [HOST]:PORT or unix:PATH; port 0 takes a free one. Anything but loopback or a Unix socket needs
 * the environment variable MALLARD_HTTP_TOKEN. Go: importing net/http/pprof and
 * http.ListenAndServe. -EALREADY: it is serving; -ENOSYS: libmallard-http.so is not installed;
 * others from the bind. */
int mallard_http_listen(const char *address);

/* Stops serving; waits for the thread to end. -ENOENT: it was not serving. */
int mallard_http_stop(void);

/* The address that is being served, terminated. -ENOENT: none; -ENAMETOOLONG. */
int mallard_http_address(char *ret_address, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
