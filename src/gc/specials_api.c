/* SPDX-License-Identifier: Apache-2.0
 *
 * Finalizers, cleanups and weak references as the program asks for them.
 *
 * Path up: the object is looked up, a record is added under its shard's lock, and while marking
 * what the record keeps alive is shaded before the critical section ends. Path down: a record is
 * taken out when the program takes it back; else by gc/specials.c.
 *
 * Weak references. All weak references to one pointer share one word: a small collected object
 * without pointers, kept alive by its record as long as the target lives. Reading it:
 *     marking      all that is dead was swept, so a target that is there lives. It is shaded, so it
 *                  lives through this cycle: handing out a pointer to it is as good as having had
 *                  one all along
 *     otherwise    the target may be dead and not yet swept. The word is looked at under the lock
 *                  that the sweeper empties it under; until then the marks of its span are
 *                  untouched and say what the sweeper will find. So dead objects do not come back,
 *                  and nobody waits for a sweep
 * The phase is constant inside the critical section, so the two cannot mix.
 *
 * SYNCHRONIZATION: gc/specials_table.c. `last_id` is a relaxed counter.
 */
#include "base/atomic.h"
#include "base/attr.h"
#include "gc/arena.h"
#include "gc/callbacks.h"
#include "gc/collector.h"
#include "gc/specials.h"
#include "gc/specials_table.h"
#include "mallard/gc.h"
#include "os/critical.h"

#include <errno.h>

/* For libmallard-bdwgc.so: see bdwgc/engine.h. */
MAL_PUBLIC int mallard_gc_finalizer_set_unordered(void *object, void (*function)(void *object));

#define TINY_BYTES 16u /* objects without pointers may share a slot of this size */

static uint64_t last_id; /* relaxed atomic */

struct target {
    uintptr_t object;
    size_t bytes;
};

static bool find_target(const void *pointer, struct target *ret_target) {
    const struct mal_gc_collector *collector = mal_gc_collector_get();
    return pointer && collector &&
           collector->find((uintptr_t)pointer, &ret_target->object, &ret_target->bytes) &&
           !mal_gc_arena_holds((uintptr_t)pointer);
}

/* The record was queued and its turn has come. */
static void retire(struct mal_gc_callback *callback) {
    struct mal_special *special = (struct mal_special *)callback;
    struct mal_special_shard *shard = mal_special_lock(special->object);
    mal_special_recycle(shard, special);
    mal_special_unlock(shard);
}

static void set_callback(struct mal_special *special, void (*function)(void *argument),
                         void *argument) {
    special->callback.function = function;
    special->callback.argument = argument;
    special->callback.retire = retire;
}

/* ---- finalizers ---- */

/* By objects that begin anywhere in it. */
static bool may_be_shared(const struct target *target) {
    return target->bytes == TINY_BYTES && mallard_gc_is_noscan((const void *)target->object);
}

static struct mal_special **find_finalizer(struct mal_special **link, uintptr_t object,
                                           const void *pointer) {
    for (; link && *link; link = &(*link)->next)
        if ((*link)->object == object && mal_special_is_finalizer(*link) &&
            (*link)->callback.argument == pointer)
            return link;
    return NULL;
}

static int remove_finalizer(uintptr_t object, void *pointer) {
    struct mal_special_shard *shard = mal_special_lock(object);
    struct mal_special **link = find_finalizer(mal_special_chain(shard, object), object, pointer);
    if (link)
        mal_special_recycle(shard, mal_special_unlink(shard, link));
    mal_special_unlock(shard);
    return 0;
}

/* One that is there is taken for the new one where it only loses its order. */
static int add_finalizer_locked(struct mal_special_shard *shard, uintptr_t object, void *pointer,
                                void (*function)(void *object), enum mal_special_kind kind) {
    struct mal_special **there = find_finalizer(mal_special_chain(shard, object), object, pointer);
    if (there && kind != MAL_SPECIAL_UNORDERED)
        return -EEXIST;
    struct mal_special *special = there ? *there : mal_special_add(shard, object, kind);
    if (!special)
        return -ENOMEM;
    special->kind = (uint8_t)kind;
    set_callback(special, function, pointer);
    return 0;
}

static int add_finalizer(uintptr_t object, void *pointer, void (*function)(void *object),
                         enum mal_special_kind kind) {
    struct mal_special_shard *shard = mal_special_lock(object);
    int error = add_finalizer_locked(shard, object, pointer, function, kind);
    mal_special_unlock(shard);
    return error;
}

/* What the object leads to lives as long as its finalizer. */
static void shade_contents(const struct target *target) {
    if (!mal_gc_collector_is_marking())
        return;
    const struct mal_gc_collector *collector = mal_gc_collector_get();
    struct mal_gc_worker *worker = collector->worker_take();
    collector->mark_contents(worker, target->object, target->object,
                             target->object + target->bytes);
    collector->worker_give(worker);
}

static int set_finalizer(void *object, void (*function)(void *object), enum mal_special_kind kind) {
    struct target target;
    if (!find_target(object, &target))
        return -EINVAL;
    if ((uintptr_t)object != target.object && !may_be_shared(&target))
        return -EINVAL;
    if (!function)
        return remove_finalizer(target.object, object);
    if (!mal_special_prepare(target.object))
        return -ENOMEM;
    mal_critical_enter();
    if (kind == MAL_SPECIAL_UNORDERED)
        mal_gc_specials_note_unordered();
    int error = add_finalizer(target.object, object, function, kind);
    if (error == 0 && kind == MAL_SPECIAL_FINALIZER)
        shade_contents(&target);
    mal_critical_leave();
    mal_gc_callbacks_need_thread();
    return error;
}

MAL_PUBLIC int mallard_gc_finalizer_set(void *object, void (*function)(void *object)) {
    return set_finalizer(object, function, MAL_SPECIAL_FINALIZER);
}

/* Of one that the object has already, only the order goes. */
int mallard_gc_finalizer_set_unordered(void *object, void (*function)(void *object)) {
    return set_finalizer(object, function, MAL_SPECIAL_UNORDERED);
}

/* ---- cleanups ---- */

static int add_cleanup(uintptr_t object, void (*function)(void *argument), void *argument,
                       uint64_t id) {
    struct mal_special_shard *shard = mal_special_lock(object);
    struct mal_special *special = mal_special_add(shard, object, MAL_SPECIAL_CLEANUP);
    if (special) {
        set_callback(special, function, argument);
        special->id = id;
    }
    mal_special_unlock(shard);
    return special ? 0 : -ENOMEM;
}

MAL_PUBLIC int mallard_gc_cleanup_add(void *object, void (*function)(void *argument),
                                      void *argument, struct mallard_gc_cleanup *ret_cleanup) {
    struct target target;
    if (!function || !find_target(object, &target) ||
        (uintptr_t)argument - target.object < target.bytes)
        return -EINVAL;
    if (!mal_special_prepare(target.object))
        return -ENOMEM;
    uint64_t id = mal_add_relaxed(&last_id, 1) + 1;
    mal_critical_enter();
    int error = add_cleanup(target.object, function, argument, id);
    if (error == 0)
        mal_gc_collector_shade(argument);
    mal_critical_leave();
    if (ret_cleanup)
        *ret_cleanup = (struct mallard_gc_cleanup){error ? 0 : id, ~target.object};
    mal_gc_callbacks_need_thread();
    return error;
}

static struct mal_special **find_cleanup(struct mal_special **link, uint64_t id) {
    for (; link && *link; link = &(*link)->next)
        if ((*link)->kind == MAL_SPECIAL_CLEANUP && (*link)->id == id)
            return link;
    return NULL;
}

MAL_PUBLIC int mallard_gc_cleanup_stop(const struct mallard_gc_cleanup *cleanup) {
    if (!cleanup || cleanup->id == 0)
        return -EINVAL;
    uintptr_t object = ~cleanup->hidden;
    struct mal_special_shard *shard = mal_special_lock(object);
    struct mal_special **link = find_cleanup(mal_special_chain(shard, object), cleanup->id);
    if (link)
        mal_special_recycle(shard, mal_special_unlink(shard, link));
    mal_special_unlock(shard);
    return link ? 0 : -ENOENT;
}

/* ---- weak references ---- */

static struct mallard_gc_weak *find_weak(struct mal_special_shard *shard, uintptr_t object,
                                         uintptr_t pointer) {
    struct mal_special **chain = mal_special_chain(shard, object);
    for (struct mal_special *special = chain ? *chain : NULL; special; special = special->next)
        if (special->kind == MAL_SPECIAL_WEAK && special->object == object &&
            mal_load_relaxed(&special->weak->target) == pointer)
            return special->weak;
    return NULL;
}

/* Its record keeps it: one that is new was shaded, an older one is looked at by every mark. */
static struct mallard_gc_weak *known_weak(uintptr_t object, uintptr_t pointer) {
    struct mal_special_shard *shard = mal_special_lock(object);
    struct mallard_gc_weak *weak = find_weak(shard, object, pointer);
    mal_special_unlock(shard);
    return weak;
}

/* Another thread may have been faster: then its word is the one. */
static struct mallard_gc_weak *enter_weak(uintptr_t object, uintptr_t pointer,
                                          struct mallard_gc_weak *fresh) {
    struct mal_special_shard *shard = mal_special_lock(object);
    struct mallard_gc_weak *weak = find_weak(shard, object, pointer);
    struct mal_special *special = weak ? NULL : mal_special_add(shard, object, MAL_SPECIAL_WEAK);
    if (special) {
        *fresh = (struct mallard_gc_weak){pointer, object, mal_gc_collector_get()->turn()};
        special->weak = weak = fresh;
    }
    mal_gc_collector_shade(weak);
    mal_special_unlock(shard);
    return weak;
}

static struct mallard_gc_weak *make_weak(uintptr_t object, uintptr_t pointer) {
    struct mallard_gc_weak *weak = known_weak(object, pointer);
    if (weak || !mal_special_prepare(object))
        return weak;
    struct mallard_gc_weak *fresh = mal_gc_collector_get()->new_noscan(sizeof *fresh);
    return fresh ? enter_weak(object, pointer, fresh) : NULL;
}

MAL_PUBLIC struct mallard_gc_weak *mallard_gc_weak_new(void *object) {
    struct target target;
    if (!find_target(object, &target)) {
        errno = EINVAL;
        return NULL;
    }
    struct mallard_gc_weak *weak = make_weak(target.object, (uintptr_t)object);
    if (!weak)
        errno = ENOMEM;
    mallard_gc_keepalive(object);
    return weak;
}

/* Not while marking. */
static uintptr_t settled_target(const struct mallard_gc_weak *weak) {
    const struct mal_gc_collector *collector = mal_gc_collector_get();
    struct mal_special_shard *shard = mal_special_lock(weak->object);
    uintptr_t target = mal_load_relaxed(&weak->target);
    if (target != 0 && weak->turn != collector->turn() && !collector->is_marked(weak->object))
        target = 0;
    mal_special_unlock(shard);
    return target;
}

MAL_PUBLIC void *mallard_gc_weak_get(struct mallard_gc_weak *weak) {
    if (!weak || mal_load_relaxed(&weak->target) == 0)
        return NULL;
    mal_critical_enter();
    uintptr_t target = mal_load_relaxed(&weak->target);
    if (!mal_gc_collector_is_marking())
        target = settled_target(weak);
    else
        mal_gc_collector_get()->shade((void *)target);
    mal_critical_leave();
    return (void *)target;
}
