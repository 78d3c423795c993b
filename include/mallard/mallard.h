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

/* "major.minor.patch" of the library in use; constant, never freed. Go: runtime.Version. */
const char *mallard_version(void);

/* ---- the allocator under names of its own ---------------------------------------------------- *
 *
 * The same functions that libc's names reach. Useful where both allocators are wanted side by side;
 * memory from one may be freed through the other name, since they are the same. Sizes in bytes, 0
 * included, aligned to 16. NULL and errno ENOMEM when memory is short or the size, or the product,
 * is above PTRDIFF_MAX. A pointer that was never given out, or is free already, ends the program
 * with a sentence. No counterpart in Go. */
void *mallard_malloc(size_t bytes);
void *mallard_calloc(size_t count, size_t bytes); /* zeroed */
void *mallard_realloc(void *pointer, size_t bytes);
void *mallard_reallocarray(void *pointer, size_t count, size_t bytes);
void mallard_free(void *pointer); /* NULL is ignored; keeps errno */

/* `alignment` is a power of two, else NULL and errno EINVAL; `bytes` need not be a multiple of it.
 */
void *mallard_aligned_alloc(size_t alignment, size_t bytes);

/* The same, and a multiple of sizeof(void *). Returns 0, EINVAL or ENOMEM, not negated, as POSIX
 * has it; keeps errno. *ret_pointer is written on success only. */
int mallard_posix_memalign(void **ret_pointer, size_t alignment, size_t bytes);

/* Bytes that may be used of what was given out, at least what was asked for; 0 for NULL. */
size_t mallard_malloc_usable_size(void *pointer);

/* ---- statistics ------------------------------------------------------------------------------ */

/* What the heap is made of, in bytes unless said. Mirrors Go's runtime.MemStats, field by field.
 * Objects count with the size of their size class.
 *
 *     sys          = heap_sys + stack_sys + mspan_sys + mcache_sys
 *                    + buck_hash_sys + gc_sys + other_sys
 *     heap_sys     = heap_idle + heap_inuse
 *     heap_alloc   = total_alloc - bytes ever freed
 *     heap_objects = mallocs - frees
 *
 *     heap_released <= heap_idle,  heap_alloc <= heap_inuse,  alloc = heap_alloc
 */
struct mallard_memstats {
    uint64_t size;        /* set to sizeof(struct mallard_memstats) by the caller */
    uint64_t alloc;       /* of live objects */
    uint64_t total_alloc; /* ever allocated */
    uint64_t sys;         /* address space obtained from the OS */
    uint64_t mallocs;     /* objects ever allocated */
    uint64_t frees;       /* objects ever freed */
    uint64_t heap_alloc;
    uint64_t heap_sys;
    uint64_t heap_idle;     /* in pages that hold no span */
    uint64_t heap_inuse;    /* in spans */
    uint64_t heap_released; /* idle, and the OS has it back or never gave it */
    uint64_t heap_objects;  /* live objects */
    uint64_t stack_inuse;   /* stacks of Mallard's own threads */
    uint64_t stack_sys;
    uint64_t mspan_inuse;  /* span descriptors and states of objects */
    uint64_t mspan_sys;    /* these and the page map */
    uint64_t mcache_inuse; /* per-CPU caches */
    uint64_t mcache_sys;
    uint64_t buck_hash_sys; /* the profiler's tables */
    uint64_t gc_sys;        /* the collector's tables */
    uint64_t other_sys;
};

/* Fills the first `stats->size` bytes. Takes some microseconds; other threads go on meanwhile, and
 * the equations above hold in what is returned. Go: runtime.ReadMemStats. -EINVAL: NULL, or size is
 * 0; -ENOMEM: there was no memory to begin with. */
int mallard_read_memstats(struct mallard_memstats *stats);

/* ---- profiling ------------------------------------------------------------------------------- */

/* Mean number of allocated bytes between samples: 0 switches sampling off, 1 samples everything,
 * the default is 524288; above 0x70000000 counts as that. In force in every thread when the call
 * returns. Returns the previous rate. Go: runtime.MemProfileRate. */
uint64_t mallard_set_mem_profile_rate(uint64_t bytes);

/* The rate in force, in bytes; 0 where sampling is off. */
uint64_t mallard_mem_profile_rate(void);

/* Writes the heap profile as gzipped profile.proto to a descriptor, for `go tool pprof`. Loads
 * libmallard-http.so. Go: pprof.WriteHeapProfile. -ENOSYS: the library is not installed;
 * -ENOMEM; -EIO and others from write. The descriptor stays open. */
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

/* Serves /debug/pprof/ and its companions from threads of Mallard's in this process; returns when
 * the first client can connect. `address` is HOST:PORT, [HOST]:PORT or unix:PATH: HOST is a number,
 * "localhost", or nothing for every address; port 0 takes a free one. Anything but loopback or a
 * Unix socket needs the environment variable MALLARD_HTTP_TOKEN. Go: importing net/http/pprof and
 * http.ListenAndServe. -EALREADY: it is serving; -EINVAL: NULL, or no such address; -EACCES: the
 * token is missing; -ENOSYS: libmallard-http.so is not installed; -ENOMEM; others from the bind. */
int mallard_http_listen(const char *address);

/* Cuts all connections and stops serving; waits for its threads to end. -ENOENT: it was not
 * serving. No counterpart in Go. */
int mallard_http_stop(void);

/* The address that is being served, with the port in use, terminated; `bytes` is the room for it.
 * -ENOENT: none is served; -ENOSPC: it does not fit. Go: Listener.Addr. */
int mallard_http_address(char *ret_address, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
