/* SPDX-License-Identifier: Apache-2.0
 *
 * mallard diff: what grew between two heap profiles, by function, and the difference itself as a
 * profile.
 *
 * The difference is a profile like any other (B's samples plus A's with the sign turned), and the
 * table is its sums. So the numbers in the table are those that `go tool pprof` shows for the file.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/cli.h"
#include "cli/clip.h"
#include "cli/functions.h"
#include "cli/load.h"
#include "cli/profile_merge.h"
#include "cli/table.h"
#include "view/number.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOP_DEFAULT 20
#define TYPE_DEFAULT "inuse_space"

enum { FLAT, CUM, FUNCTION };

static const struct cli_column bytes_columns[] = {
    [FLAT] = {"flat", "FLAT", 10, CLI_CHANGE},
    [CUM] = {"cum", "CUM", 10, CLI_CHANGE},
    [FUNCTION] = {"function", "FUNCTION", 0, CLI_TEXT},
};
static const struct cli_column count_columns[] = {
    [FLAT] = {"flat", "FLAT", 10, CLI_GAIN},
    [CUM] = {"cum", "CUM", 10, CLI_GAIN},
    [FUNCTION] = {"function", "FUNCTION", 0, CLI_TEXT},
};

struct diff {
    const char *operands[2]; /* before, after */
    const char *path, *type, *top_text, *keep;
    size_t top;
    struct view_profile before, after, difference;
    size_t value; /* number of the wanted type */
    bool is_bytes;
};

/* ---- making it ---- */

/* Both profiles must have it; the complaint lists what there is. */
static int find_type(struct diff *diff, const struct view_profile *profile, const char *operand) {
    char known[128] = "";
    size_t used = 0;
    for (size_t i = 0; i < profile->type_count; i++) {
        const char *name = profile->strings[profile->types[i].type];
        if (strcmp(name, diff->type) == 0) {
            diff->value = i;
            diff->is_bytes = strcmp(profile->strings[profile->types[i].unit], "bytes") == 0;
            return 0;
        }
        if (used < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, " %s", name);
    }
    cli_say("%s has no values of type %s, only%s", operand, diff->type, known);
    return -EINVAL;
}

static int64_t time_between(const struct diff *diff) {
    int64_t ns;
    if (__builtin_sub_overflow(diff->after.time_ns, diff->before.time_ns, &ns))
        return 0;
    return ns > 0 ? ns : 0;
}

static int subtract(struct diff *diff) {
    struct profile_merge *merge = profile_merge_begin(&diff->difference);
    int error = merge != NULL ? profile_merge_add(merge, &diff->after, 1) : -ENOMEM;
    if (error == 0)
        error = profile_merge_add(merge, &diff->before, -1);
    profile_merge_end(merge);
    diff->difference.time_ns = diff->after.time_ns;
    diff->difference.duration_ns = time_between(diff);
    if (error == -EINVAL)
        cli_say("%s and %s are profiles of different kinds", diff->operands[0], diff->operands[1]);
    else if (error < 0)
        cli_say("the difference cannot be made: %s", strerror(-error));
    return error;
}

/* ---- showing it ---- */

static int64_t total_of(const struct view_profile *profile, size_t value) {
    int64_t total = 0;
    for (size_t i = 0; i < profile->sample_count; i++)
        total = view_sum(total, profile->samples[i].values[value]);
    return total;
}

static void figure(const struct diff *diff, int64_t value, const char *sign, char text[32]) {
    char human[16];
    uint64_t size = value < 0 ? -(uint64_t)value : (uint64_t)value;
    const char *before = value < 0 ? "-" : value > 0 ? sign : "";
    view_human_bytes(size, human);
    if (diff->is_bytes)
        snprintf(text, 32, "%s%s", before, human);
    else
        snprintf(text, 32, "%s%" PRIu64, before, size);
}

static void put_totals(const struct diff *diff, struct view_buffer *out) {
    char before[32];
    char after[32];
    char change[32];
    int64_t first = total_of(&diff->before, diff->value);
    int64_t second = total_of(&diff->after, diff->value);
    figure(diff, first, "", before);
    figure(diff, second, "", after);
    figure(diff, view_sum(second, first == INT64_MIN ? INT64_MAX : -first), "+", change);
    view_buffer_printf(out, "%s: %s before, %s after, %s", diff->type, before, after, change);
    if (diff->difference.duration_ns > 0)
        view_buffer_printf(out, " in %.3g s", (double)diff->difference.duration_ns / 1e9);
    view_buffer_text(out, "\n");
}

static int fill_table(const struct diff *diff, const struct cli_functions *functions,
                      struct cli_table *table) {
    for (size_t i = 0; i < functions->count; i++) {
        const struct cli_function *function = &functions->items[i];
        if (function->flat[diff->value] == 0 && function->cum[diff->value] == 0)
            continue;
        struct cli_row *row =
            cli_table_add(table, i + 1, clip_printable(function->name, strlen(function->name)));
        if (row == NULL)
            return -ENOMEM;
        row->value[FLAT] = (double)function->flat[diff->value];
        row->value[CUM] = (double)function->cum[diff->value];
    }
    cli_table_sort(table, FLAT);
    return 0;
}

static void put_table(const struct diff *diff, const struct cli_table *table,
                      struct view_buffer *out) {
    if (table->count == 0)
        view_buffer_text(out, "no function changed\n");
    else
        cli_table_put(table, diff->top, out);
    if (table->count > diff->top)
        view_buffer_printf(out, "... and %zu more functions; --top 0 prints all\n",
                           table->count - diff->top);
}

static int print(const struct diff *diff) {
    struct cli_functions functions;
    struct view_buffer out = {0};
    struct cli_table table = {.columns = diff->is_bytes ? bytes_columns : count_columns,
                              .column_count = MAL_COUNT_OF(bytes_columns)};
    int error = cli_functions_sum(&diff->difference, &functions);
    if (error < 0)
        return error;
    error = fill_table(diff, &functions, &table);
    if (error == 0) {
        put_totals(diff, &out);
        put_table(diff, &table, &out);
        error = out.failed ? -ENOMEM : cli_write(NULL, out.data, out.bytes);
    }
    view_buffer_free(&out);
    cli_table_free(&table);
    cli_functions_free(&functions);
    return error;
}

static int write_profile(const struct diff *diff) {
    struct view_buffer out = {0};
    bool to_stdout = strcmp(diff->path, "-") == 0;
    int error = view_profile_encode(&diff->difference, VIEW_EFFORT_DEFAULT, &out);
    if (error < 0)
        cli_say("the difference cannot be encoded: %s", strerror(-error));
    else
        error = cli_write(to_stdout ? NULL : diff->path, out.data, out.bytes);
    view_buffer_free(&out);
    return error;
}

/* ---- the command ---- */

/* The table goes to standard output unless the profile does. */
static int answer(struct diff *diff) {
    int error = find_type(diff, &diff->before, diff->operands[0]);
    if (error == 0)
        error = find_type(diff, &diff->after, diff->operands[1]);
    if (error == 0)
        error = subtract(diff);
    if (error == 0 && diff->path != NULL)
        error = write_profile(diff);
    if (error == 0 && (diff->path == NULL || strcmp(diff->path, "-") != 0))
        error = print(diff);
    return error;
}

static int load_and_answer(struct diff *diff) {
    struct cli_keeps keeps;
    view_profile_init(&diff->difference);
    int error = cli_keeps_open(diff->keep, &keeps);
    if (error == 0)
        error = load_profile(&keeps, diff->operands[0], &diff->before);
    if (error == 0) {
        error = load_profile(&keeps, diff->operands[1], &diff->after);
        if (error == 0) {
            error = answer(diff);
            view_profile_free(&diff->after);
        }
        view_profile_free(&diff->before);
    }
    view_profile_free(&diff->difference);
    cli_keeps_close(&keeps);
    return error < 0 ? CLI_FAILED : CLI_OK;
}

static int parse_top(const struct cli_command *command, struct diff *diff) {
    const char *text = diff->top_text;
    diff->top = TOP_DEFAULT;
    if (text == NULL)
        return CLI_OK;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9 || text[digits] != '\0')
        return cli_usage(command, "--top needs a number of functions, not '%s'", text);
    diff->top = strtoul(text, NULL, 10);
    diff->top = diff->top > 0 ? diff->top : SIZE_MAX;
    return CLI_OK;
}

static int run_diff(const struct cli_command *command, int count, char **arguments) {
    struct diff diff = {.type = TYPE_DEFAULT};
    const struct cli_option known[] = {{"--output", "-o", &diff.path, 0},
                                       {"--type", NULL, &diff.type, 0},
                                       {"--top", "-top", &diff.top_text, 0},
                                       {"--keep", NULL, &diff.keep, 0}};
    struct cli_options options = {known, MAL_COUNT_OF(known), 0};
    int found = cli_parse_all(command, &options, count, arguments, diff.operands, 2);
    if (found < 0)
        return cli_parse_status(found);
    if (found < 2)
        return cli_usage(command, "diff needs two profiles: before and after");
    int status = parse_top(command, &diff);
    return status == CLI_OK ? load_and_answer(&diff) : status;
}

const struct cli_command cli_diff = {
    .name = "diff",
    .summary = "show what grew between two heap profiles",
    .help =
        "usage: mallard diff A B [-o FILE] [--type TYPE] [--top N] [--keep DIR]\n\n"
        "Subtracts profile A from profile B and prints what changed in total and by function,\n"
        "the largest growth first: FLAT is what the function allocated itself, CUM also what it\n"
        "called. A and B are each one of\n\n"
        "  FILE       a profile in pprof's format (.pb.gz), or a box\n"
        "  PID        the process now, or the last profile of a dead one; also PID.START\n"
        "  PID@TIME   the last profile that mallardd stored before TIME: 14:30, 14:30:05, -10m\n"
        "             (s, m, h, d ago) or seconds since 1970\n\n"
        "  -o, --output FILE   also write the difference as a profile; - is standard output, and\n"
        "                      then no table is printed\n"
        "  --type TYPE         inuse_space (the default), inuse_objects, alloc_space or\n"
        "                      alloc_objects\n"
        "  -top, --top N       print N functions (20); 0 prints all\n"
        "  --keep DIR          look for stored profiles in DIR; see 'mallard help ps'\n",
    .run = run_diff,
};
