/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots: private copies of modules, stacks and buckets, checked entry by entry.
 *
 * Counts are copied twice, frees from the first copy and allocs from the second, which keeps
 * frees <= allocs without stopping anybody. An entry that breaks a rule is left out and counted;
 * one bad entry must not cost the others.
 *
 * SYNCHRONIZATION. As reader.c says: a table's length first, then a fence, then its entries. A
 * handle belongs to one thread at a time.
 */
#include "box/reader.h"

#include "base/now.h"

#include "box/reader_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MODULE_PATH_MAX_BYTES 4096u

/* Private copies of the append-only sections, as long as the header said. */
struct sections {
    struct mal_box_module *modules;
    char *strings;
    uint64_t *stacks;
    struct mal_box_bucket *buckets;
    struct mal_box_count *counts; /* frees as of the first copy */
    struct mal_box_count *later;  /* allocs as of the second */
};

/* What the pointers of a snapshot point into. */
struct storage {
    uint64_t *stacks;
    char *paths;
    char *root;
};

static void sections_free(struct sections *sections) {
    free(sections->modules);
    free(sections->strings);
    free(sections->stacks);
    free(sections->buckets);
    free(sections->counts);
    free(sections->later);
}

/* Fills `sections` as far as it gets; the caller frees them either way. */
static int sections_load(const struct mal_box_reader *reader, const struct mal_box_header *header,
                         struct sections *sections) {
    size_t bucket_bytes = header->buckets_used * sizeof(struct mal_box_bucket);
    size_t count_bytes = mal_box_counts_bytes(header->buckets_used, header->stripes);
    size_t stack_bytes = header->stacks_used * sizeof(uint64_t);
    size_t module_bytes = header->modules_used * sizeof(struct mal_box_module);
    int error = 0;
    sections->buckets = mal_reader_load(reader, MAL_BOX_BUCKETS, bucket_bytes, &error);
    sections->counts = mal_reader_load(reader, MAL_BOX_COUNTS, count_bytes, &error);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    sections->later = mal_reader_load(reader, MAL_BOX_COUNTS, count_bytes, &error);
    sections->stacks = mal_reader_load(reader, MAL_BOX_STACKS, stack_bytes, &error);
    sections->modules = mal_reader_load(reader, MAL_BOX_MODULES, module_bytes, &error);
    sections->strings = mal_reader_load(reader, MAL_BOX_STRINGS, header->strings_used, &error);
    return error;
}

static bool module_is_sound(const struct mal_box_module *module,
                            const struct mal_box_header *header) {
    return module->start < module->limit && module->build_id_bytes <= MAL_BOX_BUILD_ID_MAX &&
           module->path.bytes <= MODULE_PATH_MAX_BYTES &&
           module->path.bytes <= header->strings_used &&
           module->path.offset <= header->strings_used - module->path.bytes;
}

static size_t path_bytes(const struct mal_box_header *header, const struct sections *sections) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < header->modules_used; i++) {
        if (module_is_sound(&sections->modules[i], header))
            bytes += sections->modules[i].path.bytes + 1;
    }
    return bytes;
}

static struct mal_snapshot_module module_copy(const struct mal_box_module *module,
                                              const char *path) {
    struct mal_snapshot_module copy = {.start = module->start,
                                       .limit = module->limit,
                                       .file_offset = module->file_offset,
                                       .load_bias = module->load_bias,
                                       .unloaded = module->unloaded != 0,
                                       .first_stack = module->first_stack,
                                       .path = path,
                                       .build_id_bytes = module->build_id_bytes};
    memcpy(copy.build_id, module->build_id, sizeof(copy.build_id));
    return copy;
}

static void fill_modules(struct mal_snapshot *snapshot, const struct mal_box_header *header,
                         const struct sections *sections) {
    char *path = ((struct storage *)snapshot->storage)->paths;
    for (uint32_t i = 0; i < header->modules_used; i++) {
        const struct mal_box_module *module = &sections->modules[i];
        if (!module_is_sound(module, header)) {
            snapshot->rejected++;
            continue;
        }
        memcpy(path, sections->strings + module->path.offset, module->path.bytes);
        path[module->path.bytes] = 0;
        snapshot->modules[snapshot->module_count++] = module_copy(module, path);
        path += module->path.bytes + 1;
    }
}

/* Of one bucket, all stripes together. */
static struct mal_box_count sum_up(const struct mal_box_header *header,
                                   const struct sections *sections, uint32_t bucket) {
    struct mal_box_count sum = {0};
    for (uint32_t stripe = 0; stripe < header->stripes; stripe++) {
        uint64_t at = mal_box_count_at(bucket, stripe, header->stripes);
        sum.frees += sections->counts[at].frees;
        sum.allocs += sections->later[at].allocs;
    }
    return sum;
}

static void fill_buckets(struct mal_snapshot *snapshot, const struct mal_box_header *header,
                         const struct sections *sections) {
    for (uint32_t i = 0; i < header->buckets_used; i++) {
        const struct mal_box_bucket *bucket = &sections->buckets[i];
        struct mal_box_count sum = sum_up(header, sections, i);
        if (!mal_reader_stack_is_sound(sections->stacks, header->stacks_used, bucket->stack) ||
            sum.frees > sum.allocs || bucket->size == 0 || bucket->kind > MAL_BOX_KIND_GC) {
            snapshot->rejected++;
            continue;
        }
        snapshot->buckets[snapshot->bucket_count++] =
            (struct mal_snapshot_bucket){.pcs = sections->stacks + bucket->stack + 1,
                                         .depth = (uint32_t)sections->stacks[bucket->stack],
                                         .kind = bucket->kind,
                                         .size = bucket->size,
                                         .rate = bucket->rate,
                                         .allocs = sum.allocs,
                                         .frees = sum.frees,
                                         .first_unix_ns = bucket->first_unix_ns};
    }
}

/* Room for everything that the sections may hold; all counts still zero. */
static int snapshot_new(const struct mal_box_reader *reader, const struct mal_box_header *header,
                        const struct sections *sections, struct mal_snapshot **ret_snapshot) {
    struct mal_snapshot *snapshot = calloc(1, sizeof(*snapshot));
    if (!snapshot)
        return -ENOMEM;
    struct storage *storage = calloc(1, sizeof(*storage));
    snapshot->storage = storage;
    snapshot->modules = calloc((size_t)header->modules_used + 1, sizeof(*snapshot->modules));
    snapshot->buckets = calloc((size_t)header->buckets_used + 1, sizeof(*snapshot->buckets));
    if (storage) {
        storage->paths = malloc(path_bytes(header, sections) + 1);
        storage->root = strdup(reader->root ? reader->root : "");
    }
    if (!storage || !storage->paths || !storage->root || !snapshot->modules || !snapshot->buckets) {
        mal_snapshot_free(snapshot);
        return -ENOMEM;
    }
    snapshot->mem_profile_rate = header->mem_profile_rate;
    snapshot->dropped_samples = header->dropped_samples;
    snapshot->dropped_bytes = header->dropped_bytes;
    snapshot->pid = header->pid;
    snapshot->owner_uid = reader->owner_uid;
    snapshot->root = storage->root;
    *ret_snapshot = snapshot;
    return 0;
}

int mal_reader_snapshot(struct mal_box_reader *reader, struct mal_snapshot **ret_snapshot) {
    struct mal_box_header header;
    struct sections sections = {0};
    struct mal_snapshot *snapshot = NULL;
    uint64_t taken_unix_ns = mal_now_ns(CLOCK_REALTIME);
    int error = mal_reader_header(reader, &header);
    if (error)
        return error;
    error = sections_load(reader, &header, &sections);
    if (error)
        goto out;
    error = snapshot_new(reader, &header, &sections, &snapshot);
    if (error)
        goto out;
    snapshot->taken_unix_ns = taken_unix_ns;
    fill_modules(snapshot, &header, &sections);
    fill_buckets(snapshot, &header, &sections);
    mal_reader_set_unloaded_apart(snapshot, sections.stacks);
    ((struct storage *)snapshot->storage)->stacks = sections.stacks;
    sections.stacks = NULL;
    *ret_snapshot = snapshot;
out:
    sections_free(&sections);
    return error;
}

void mal_snapshot_free(struct mal_snapshot *snapshot) {
    if (!snapshot)
        return;
    struct storage *storage = snapshot->storage;
    if (storage) {
        free(storage->stacks);
        free(storage->paths);
        free(storage->root);
    }
    free(storage);
    free(snapshot->modules);
    free(snapshot->buckets);
    free(snapshot);
}
