/* SPDX-License-Identifier: Apache-2.0
 *
 * A second opinion on our profiles: a decoder of profile.proto's wire format that shares nothing
 * with the encoder, neither code nor generated tables. Aborts on malformed input and on every
 * rule that pprof checks: ids unique and resolvable, string indexes in range, one value per type.
 */
#ifndef MAL_TESTS_SUPPORT_PPROF_WIRE_H
#define MAL_TESTS_SUPPORT_PPROF_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pprof_label {
    const char *key, *text;
    int64_t number;
};
struct pprof_sample {
    uint64_t locations[256];
    size_t depth;
    int64_t values[8];
    size_t value_count;
    struct pprof_label labels[4];
    size_t label_count;
};
struct pprof_mapping {
    uint64_t id, start, limit, offset;
    const char *filename, *build_id;
    bool has_functions, has_filenames, has_line_numbers, has_inline_frames;
};
struct pprof_function {
    uint64_t id;
    const char *name, *system_name, *filename;
};
struct pprof_line {
    uint64_t function;
    int64_t line;
};
struct pprof_location {
    uint64_t id, mapping, address;
    struct pprof_line lines[80];
    size_t line_count;
};
struct pprof {
    struct {
        const char *type, *unit;
    } types[8], period_type;
    size_t type_count;
    struct pprof_sample *samples;
    struct pprof_mapping *mappings;
    struct pprof_location *locations;
    struct pprof_function *functions;
    size_t sample_count, mapping_count, location_count, function_count;
    const char **strings;
    size_t string_count;
    int64_t period, time_ns, duration_ns;
    const char *comments[8];
    size_t comment_count;
    const char *default_type;
};

struct pprof *pprof_decode(const void *data, size_t bytes);
void pprof_free(struct pprof *profile);

const struct pprof_location *pprof_location(const struct pprof *profile, uint64_t id);
/* The name of line `line` of the location that frame `frame` of the sample has. */
const char *pprof_name(const struct pprof *profile, const struct pprof_sample *sample, size_t frame,
                       size_t line);
const struct pprof_function *pprof_function(const struct pprof *profile, uint64_t id);

#endif
