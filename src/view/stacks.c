/* SPDX-License-Identifier: Apache-2.0
 *
 * Stacks of a profile as lists of frames, each list, frame and function once. A frame is a function
 * and a line; two addresses on one line are one frame, so that two stacks which look the same to
 * people are the same.
 *
 * Hashes are salted: the profile may be an enemy's, who must not know what collides.
 */
#include "view/profile_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FRAMES_TOTAL_MAX (16u << 20) /* over all stacks, inlined frames expanded */

struct frame {
    uint32_t function; /* number in the output */
    int64_t line;
};

struct stack {
    size_t first; /* in `all` */
    uint32_t depth;
};

struct view_stacks {
    const struct view_profile *profile;
    uint64_t salt;
    uint32_t *function_number; /* by id; UINT32_MAX not used yet */
    uint32_t *functions;       /* ids by number */
    size_t function_count;
    struct frame *frames;
    size_t frame_count, frame_capacity;
    struct view_table frame_table;
    uint32_t *all; /* frames of all stacks, one after the other */
    size_t all_count, all_capacity;
    struct stack *stacks;
    size_t stack_count, stack_capacity;
    struct view_table stack_table;
};

int view_stacks_new(const struct view_profile *profile, struct view_stacks **ret_stacks) {
    struct view_stacks *stacks = calloc(1, sizeof(*stacks));
    if (!stacks)
        return -ENOMEM;
    size_t functions = profile->function_count + 1; /* id 0 is the unknown one */
    stacks->profile = profile;
    stacks->function_number = malloc(functions * sizeof(uint32_t));
    stacks->functions = malloc(functions * sizeof(uint32_t));
    stacks->all = view_array_grow(NULL, 0, &stacks->all_capacity, sizeof(*stacks->all));
    if (!stacks->function_number || !stacks->functions || !stacks->all) {
        view_stacks_free(stacks);
        return -ENOMEM;
    }
    memset(stacks->function_number, 0xff, functions * sizeof(uint32_t));
    if (getrandom(&stacks->salt, sizeof(stacks->salt), GRND_NONBLOCK) < 0)
        stacks->salt = (uintptr_t)stacks;
    *ret_stacks = stacks;
    return 0;
}

void view_stacks_free(struct view_stacks *stacks) {
    if (!stacks)
        return;
    free(stacks->function_number);
    free(stacks->functions);
    free(stacks->frames);
    free(stacks->all);
    free(stacks->stacks);
    view_table_free(&stacks->frame_table);
    view_table_free(&stacks->stack_table);
    free(stacks);
}

static uint32_t function_of(struct view_stacks *stacks, uint32_t id) {
    uint32_t *number = &stacks->function_number[id];
    if (*number == UINT32_MAX) {
        *number = (uint32_t)stacks->function_count;
        stacks->functions[stacks->function_count++] = id;
    }
    return *number;
}

static int add_frame(struct view_stacks *stacks, uint64_t hash, const struct frame *frame,
                     uint32_t *ret_number) {
    struct frame *frames = view_array_grow(stacks->frames, stacks->frame_count,
                                           &stacks->frame_capacity, sizeof(*frames));
    if (!frames)
        return -ENOMEM;
    stacks->frames = frames;
    *ret_number = (uint32_t)stacks->frame_count;
    frames[stacks->frame_count++] = *frame;
    return view_table_add(&stacks->frame_table, hash, *ret_number);
}

static int frame_of(struct view_stacks *stacks, const struct frame *frame, uint32_t *ret_number) {
    uint64_t hash =
        view_hash_word(view_hash_word(stacks->salt, frame->function), (uint64_t)frame->line);
    size_t probe = 0;
    uint32_t number;
    while ((number = view_table_next(&stacks->frame_table, hash, &probe)) != VIEW_TABLE_END) {
        const struct frame *known = &stacks->frames[number];
        if (known->function == frame->function && known->line == frame->line) {
            *ret_number = number;
            return 0;
        }
    }
    return add_frame(stacks, hash, frame, ret_number);
}

/* Appends one frame behind the last stack, where the next one is put together. */
static int push(struct view_stacks *stacks, uint32_t depth, const struct frame *frame) {
    size_t at = stacks->all_count + depth;
    if (at >= FRAMES_TOTAL_MAX)
        return -EFBIG;
    uint32_t *all = view_array_grow(stacks->all, at, &stacks->all_capacity, sizeof(*all));
    if (!all)
        return -ENOMEM;
    stacks->all = all;
    return frame_of(stacks, frame, &all[at]);
}

/* A location without lines is one frame of the unknown function. */
static int expand(struct view_stacks *stacks, uint64_t id, uint32_t *depth) {
    const struct view_profile *profile = stacks->profile;
    static const struct view_line unknown;
    if (id == 0 || id > profile->location_count)
        return 0;
    const struct view_location *location = &profile->locations[id - 1];
    uint32_t count = location->line_count > 0 ? location->line_count : 1;
    int error = 0;
    for (uint32_t i = 0; !error && i < count; i++) {
        const struct view_line *line = location->line_count > 0 ? &location->lines[i] : &unknown;
        uint32_t function = line->function <= profile->function_count ? line->function : 0;
        error = push(stacks, *depth, &(struct frame){function_of(stacks, function), line->line});
        *depth += !error;
    }
    return error;
}

/* The number of the stack that was put together; a new one becomes part of `all`. */
static int settle(struct view_stacks *stacks, uint32_t depth, uint32_t *ret_number) {
    const uint32_t *fresh = stacks->all + stacks->all_count;
    uint64_t hash = view_hash_word(stacks->salt, depth);
    for (uint32_t i = 0; i < depth; i++)
        hash = view_hash_word(hash, fresh[i]);
    size_t probe = 0;
    uint32_t number;
    while ((number = view_table_next(&stacks->stack_table, hash, &probe)) != VIEW_TABLE_END) {
        const struct stack *known = &stacks->stacks[number];
        if (known->depth == depth && (depth == 0 || memcmp(stacks->all + known->first, fresh,
                                                           depth * sizeof(*fresh)) == 0)) {
            *ret_number = number;
            return 0;
        }
    }
    struct stack *grown = view_array_grow(stacks->stacks, stacks->stack_count,
                                          &stacks->stack_capacity, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    stacks->stacks = grown;
    *ret_number = (uint32_t)stacks->stack_count;
    grown[stacks->stack_count++] = (struct stack){stacks->all_count, depth};
    stacks->all_count += depth;
    return view_table_add(&stacks->stack_table, hash, *ret_number);
}

int view_stacks_add(struct view_stacks *stacks, const uint64_t *locations, uint32_t depth,
                    uint32_t *ret_number) {
    uint32_t frames = 0;
    int error = 0;
    for (uint32_t i = 0; !error && i < depth; i++)
        error = expand(stacks, locations[i], &frames);
    return error ? error : settle(stacks, frames, ret_number);
}

static void function_json(const struct view_profile *profile, uint32_t id, struct view_json *json) {
    static const struct view_function unknown;
    const struct view_function *function = id > 0 ? &profile->functions[id - 1] : &unknown;
    const char *name = profile->strings[function->name];
    if (*name == '\0')
        name = profile->strings[function->system_name];
    view_json_array(json, NULL);
    view_json_text(json, NULL, *name != '\0' ? name : "?");
    view_json_text(json, NULL, profile->strings[function->filename]);
    view_json_signed(json, NULL, function->start_line);
    view_json_array_end(json);
}

static void frames_json(const struct view_stacks *stacks, struct view_json *json) {
    view_json_array(json, "frames");
    for (size_t i = 0; i < stacks->frame_count; i++) {
        view_json_array(json, NULL);
        view_json_unsigned(json, NULL, stacks->frames[i].function);
        view_json_signed(json, NULL, stacks->frames[i].line);
        view_json_array_end(json);
    }
    view_json_array_end(json);
}

void view_stacks_json(const struct view_stacks *stacks, struct view_json *json) {
    view_json_array(json, "functions");
    for (size_t i = 0; i < stacks->function_count; i++)
        function_json(stacks->profile, stacks->functions[i], json);
    view_json_array_end(json);
    frames_json(stacks, json);
    view_json_array(json, "stacks");
    for (size_t i = 0; i < stacks->stack_count; i++) {
        const struct stack *stack = &stacks->stacks[i];
        view_json_array(json, NULL);
        for (uint32_t k = 0; k < stack->depth; k++)
            view_json_unsigned(json, NULL, stacks->all[stack->first + k]);
        view_json_array_end(json);
    }
    view_json_array_end(json);
}
