/* SPDX-License-Identifier: Apache-2.0
 *
 * Per-CPU caches: the numbers.
 *
 * Holds the counters of what the fast paths' headers do not tell, and adds both up. Path up and
 * path down: none.
 *
 * SYNCHRONIZATION
 *   1. Counters are relaxed atomics; headers and `touched` are read relaxed, on any CPU.
 *   2. Order is what makes the sums right: what moves is counted before it moves (release,
 *      mal_cache_announce), and headers are read before counters (acquire, mal_cache_stats).
 *
 * Must never take a lock, nor change anything.
 */
#include "cache/cache_private.h"

#include "base/bits.h"
#include "os/vm.h"

struct mal_cache_counters mal_cache_counters[MAL_CLASS_COUNT];

/* Headers first, what is subtracted last: the result is what was true, or too small by what was on
 * its way. Too large would stay for ever with a caller who never lets a counter go back. */
struct mal_cache_stats mal_cache_stats(uint32_t class) {
    struct mal_cache_counters *c = &mal_cache_counters[class];
    uint64_t given = mal_shelf_given(class); /* before any header: shelf.c, rule 2 */
    uint64_t pops = 0;
    uint64_t cached = 0;
    MAL_FOR_EACH_CACHE (cpu) {
        uint64_t header = mal_load_relaxed(&mal_slab_of(cpu)->header[class]);
        pops += header / MAL_SLAB_POP_UNIT;
        cached += mal_slab_objects_below(header, class);
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    uint64_t allocs = pops + mal_shelf_taken(class) + mal_load_relaxed(&c->direct_allocs);
    uint64_t frees = cached + pops + given + mal_load_relaxed(&c->direct_frees);
    return (struct mal_cache_stats){
        .mallocs = mal_not_negative(allocs - mal_load_relaxed(&c->drained)),
        .frees = mal_not_negative(frees - mal_load_relaxed(&c->filled)),
        .cached = cached + mal_shelf_objects(class),
    };
}

uint64_t mal_slab_resident_bytes(const struct mal_slab *slab) {
    uint64_t pages = 0;
    for (unsigned word = 0; word < MAL_COUNT_OF(slab->touched); word++)
        pages += (uint64_t)__builtin_popcountll(mal_load_relaxed(&slab->touched[word]));
    return pages * mal_vm_page_bytes();
}

uint64_t mal_cache_slab_bytes(void) {
    uint64_t bytes = 0;
    MAL_FOR_EACH_CACHE (cpu)
        bytes += MAL_SLAB_BYTES;
    return bytes;
}

uint64_t mal_cache_resident_bytes(void) {
    uint64_t bytes = 0;
    MAL_FOR_EACH_CACHE (cpu)
        bytes += mal_slab_resident_bytes(mal_slab_of(cpu));
    return bytes;
}
