/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums per call site. An allocation belongs to the innermost frame of its stack, inlined or not.
 */
#include "view/sites.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct gathering {
    const struct view_profile *profile;
    struct view_site *sites;
    uint32_t *functions; /* by site */
    size_t count, site_capacity, function_capacity;
    struct view_table table;
};

static struct view_line innermost(const struct view_profile *profile,
                                  const struct view_sample *sample) {
    uint64_t id = sample->depth > 0 ? sample->locations[0] : 0;
    if (id == 0 || id > profile->location_count || profile->locations[id - 1].line_count == 0)
        return (struct view_line){0};
    return profile->locations[id - 1].lines[0];
}

static struct view_site *site_new(struct gathering *all, uint64_t hash,
                                  const struct view_line *line) {
    static const struct view_function unknown;
    struct view_site *sites =
        view_array_grow(all->sites, all->count, &all->site_capacity, sizeof(*sites));
    if (sites)
        all->sites = sites;
    uint32_t *functions =
        view_array_grow(all->functions, all->count, &all->function_capacity, sizeof(*functions));
    if (functions)
        all->functions = functions;
    if (!sites || !functions || view_table_add(&all->table, hash, (uint32_t)all->count) != 0)
        return NULL;
    const struct view_function *function =
        line->function ? &all->profile->functions[line->function - 1] : &unknown;
    functions[all->count] = line->function;
    sites[all->count] = (struct view_site){.name = all->profile->strings[function->name],
                                           .file = all->profile->strings[function->filename],
                                           .line = line->line};
    return &sites[all->count++];
}

static struct view_site *site_of(struct gathering *all, const struct view_line *line) {
    uint64_t hash = view_hash_word(view_hash_word(0, line->function), (uint64_t)line->line);
    size_t probe = 0;
    uint32_t number;
    while ((number = view_table_next(&all->table, hash, &probe)) != VIEW_TABLE_END) {
        if (all->functions[number] == line->function && all->sites[number].line == line->line)
            return &all->sites[number];
    }
    return site_new(all, hash, line);
}

static void add(struct view_site *site, const struct view_sample *sample) {
    for (int k = 0; k < HEAP_VALUES; k++) {
        if (__builtin_add_overflow(site->values[k], sample->values[k], &site->values[k]))
            site->values[k] = INT64_MAX;
    }
}

int view_sites_of(const struct view_profile *profile, struct view_site **ret_sites,
                  size_t *ret_count) {
    struct gathering all = {.profile = profile};
    int error = 0;
    for (size_t i = 0; !error && i < profile->sample_count; i++) {
        const struct view_line line = innermost(profile, &profile->samples[i]);
        struct view_site *site = site_of(&all, &line);
        if (site)
            add(site, &profile->samples[i]);
        else
            error = -ENOMEM;
    }
    free(all.functions);
    view_table_free(&all.table);
    if (error) {
        free(all.sites);
        return error;
    }
    *ret_sites = all.sites;
    *ret_count = all.count;
    return 0;
}

struct order {
    enum heap_value by;
};

static int compare(const void *left, const void *right, void *context) {
    const struct view_site *a = left, *b = right;
    const struct order *order = context;
    int64_t x = a->values[order->by], y = b->values[order->by];
    return x != y ? (x < y) - (x > y) : strcmp(a->name, b->name);
}

void view_sites_sort(struct view_site *sites, size_t count, enum heap_value by) {
    struct order order = {by};
    if (count > 0)
        qsort_r(sites, count, sizeof(*sites), compare, &order);
}
