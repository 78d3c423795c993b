/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums by function.
 *
 * A sample counts flat for the function of its innermost frame, inlined ones included, and cum for
 * every function on its stack, once, however often that recursed.
 *
 * Names are interned in a profile, so a name is the number of its string and an array finds its
 * sum. Numbers in a profile are checked when it is read; what is out of range here is left out all
 * the same.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/functions.h"

#include "view/number.h"

#include <errno.h>
#include <stdlib.h>

struct sums {
    const struct view_profile *profile;
    struct cli_functions *result;
    uint32_t *item_of; /* by number of the name's string: index + 1 of the item */
    uint32_t *seen_in; /* by index of the item: the sample that counted it last, + 1 */
    uint32_t sample;   /* being counted, + 1 */
};

static void add_values(int64_t *to, const int64_t *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        to[i] = view_sum(to[i], values[i]);
}

/* The item of a function, made when it is new; NULL for a number that means none. */
static struct cli_function *item_of(struct sums *sums, uint32_t function) {
    const struct view_profile *profile = sums->profile;
    if (function == 0 || function > profile->function_count)
        return NULL;
    const struct view_function *known = &profile->functions[function - 1];
    if (known->name >= profile->string_count || known->filename >= profile->string_count)
        return NULL;
    if (sums->item_of[known->name] == 0) {
        struct cli_function *made = &sums->result->items[sums->result->count];
        made->name = profile->strings[known->name];
        made->file = profile->strings[known->filename];
        sums->item_of[known->name] = (uint32_t)++sums->result->count;
    }
    return &sums->result->items[sums->item_of[known->name] - 1];
}

static void add_location(struct sums *sums, const struct view_location *location,
                         const struct view_sample *sample, bool is_leaf) {
    for (uint32_t i = 0; i < location->line_count; i++) {
        struct cli_function *item = item_of(sums, location->lines[i].function);
        if (item == NULL)
            continue;
        size_t index = (size_t)(item - sums->result->items);
        if (is_leaf && i == 0)
            add_values(item->flat, sample->values, sums->profile->type_count);
        if (sums->seen_in[index] != sums->sample)
            add_values(item->cum, sample->values, sums->profile->type_count);
        sums->seen_in[index] = sums->sample;
    }
}

static void add_sample(struct sums *sums, const struct view_sample *sample) {
    const struct view_profile *profile = sums->profile;
    sums->sample++;
    add_values(sums->result->total, sample->values, profile->type_count);
    for (uint32_t i = 0; i < sample->depth; i++) {
        uint64_t id = sample->locations[i];
        if (id > 0 && id <= profile->location_count)
            add_location(sums, &profile->locations[id - 1], sample, i == 0);
    }
}

int cli_functions_sum(const struct view_profile *profile, struct cli_functions *ret_functions) {
    size_t most = profile->function_count + 1;
    struct cli_functions result = {.items = calloc(most, sizeof *result.items)};
    struct sums sums = {.profile = profile,
                        .result = &result,
                        .item_of = calloc(profile->string_count + 1, sizeof *sums.item_of),
                        .seen_in = calloc(most, sizeof *sums.seen_in)};
    bool enough = result.items != NULL && sums.item_of != NULL && sums.seen_in != NULL;
    for (size_t i = 0; enough && i < profile->sample_count; i++)
        add_sample(&sums, &profile->samples[i]);
    free(sums.item_of);
    free(sums.seen_in);
    if (!enough) {
        free(result.items);
        return -ENOMEM;
    }
    *ret_functions = result;
    return 0;
}

void cli_functions_free(struct cli_functions *functions) {
    free(functions->items);
    *functions = (struct cli_functions){0};
}
