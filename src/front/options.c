/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading the knobs.
 *
 * One table: name, how to parse, what is said when it does not parse. A program that runs with more
 * rights than its caller ignores the environment altogether. Parsing is strict and total: a knob
 * that does not parse changes nothing and is named on standard error with the value used instead;
 * no knob ever ends the program.
 */
#include "front/options.h"

#include "base/format.h"
#include "os/env.h"
#include "os/say.h"
#include "sample/sampler.h"

#include <stdbool.h>
#include <string.h>

struct mal_options mal_options = {.mem_profile_rate = MAL_RATE_DEFAULT_BYTES,
                                  .cpu_cache = MAL_PERCPU_RSEQ};

static bool parse_rate(const char *value) {
    uint64_t number = 0;
    if (!*value)
        return false;
    for (; *value; value++) {
        if (*value < '0' || *value > '9' || number > UINT64_MAX / 100)
            return false;
        number = number * 10 + (uint64_t)(*value - '0');
    }
    mal_options.mem_profile_rate = number < MAL_RATE_MAX_BYTES ? number : MAL_RATE_MAX_BYTES;
    return true;
}

static bool parse_cpu_cache(const char *value) {
    if (strcmp(value, "rseq") != 0 && strcmp(value, "lock") != 0)
        return false;
    mal_options.cpu_cache = strcmp(value, "lock") == 0 ? MAL_PERCPU_LOCK : MAL_PERCPU_RSEQ;
    return true;
}

/* Programs overwrite their environment to change how ps shows them: texts are copied. NULL for one
 * that does not fit. */
static const char *copy(char *to, size_t bytes, const char *value) {
    return mal_format(to, bytes, "%s", value) == strlen(value) ? to : NULL;
}

static bool parse_http(const char *value) {
    static char text[256];
    if (!*value || strcmp(value, "off") == 0)
        return true;
    mal_options.http = copy(text, sizeof text, value);
    return mal_options.http != NULL;
}

static bool parse_token(const char *value) {
    static char text[512];
    if (!*value)
        return true;
    mal_options.http_token = copy(text, sizeof text, value);
    return mal_options.http_token != NULL;
}

static bool parse_flag(const char *value, enum mal_option_flags flag) {
    if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
        return false;
    mal_options.flags |= *value == '1' ? (uint32_t)flag : 0;
    return true;
}

static bool parse_eager(const char *value) {
    return parse_flag(value, MAL_OPTION_EAGER);
}

static bool parse_keep(const char *value) {
    return parse_flag(value, MAL_OPTION_KEEP);
}

/* What MALLARD_DEBUG understands; each takes 0 or 1. */
struct debug_name {
    const char *name;
    enum mal_option_flags flag;
};
static const struct debug_name debug_names[] = {
    {"scavtrace", MAL_OPTION_SCAVTRACE},
};

/* Sets the entry's flag in *flags; false for one that is not known. */
static bool debug_entry(const char *entry, size_t bytes, uint32_t *flags) {
    for (size_t i = 0; i < MAL_COUNT_OF(debug_names); i++) {
        size_t name_bytes = strlen(debug_names[i].name);
        if (bytes != name_bytes + 2 || strncmp(entry, debug_names[i].name, name_bytes) != 0 ||
            entry[name_bytes] != '=' || (entry[bytes - 1] != '0' && entry[bytes - 1] != '1'))
            continue;
        if (entry[bytes - 1] == '1')
            *flags |= (uint32_t)debug_names[i].flag;
        return true;
    }
    return false;
}

/* Entries NAME=VALUE with commas between. Returns the flags of those that are known. */
static uint32_t debug_flags(const char *value, bool *ret_all_known) {
    uint32_t flags = 0;
    *ret_all_known = true;
    for (const char *entry = value; *entry;) {
        size_t bytes = strcspn(entry, ",");
        *ret_all_known &= bytes == 0 || debug_entry(entry, bytes, &flags);
        entry += bytes + (entry[bytes] == ',');
    }
    return flags;
}

static bool parse_debug(const char *value) {
    bool all_known;
    uint32_t flags = debug_flags(value, &all_known);
    if (all_known)
        mal_options.flags |= flags;
    return all_known;
}

struct knob {
    const char *name;
    bool (*parse)(const char *value);
    const char *expected;
    const char *fallback;
};

static const struct knob knobs[] = {
    {"MALLARD_MEMPROFILERATE", parse_rate, "a number of bytes", "524288"},
    {"MALLARD_CPU_CACHE", parse_cpu_cache, "rseq or lock", "rseq"},
    {"MALLARD_HTTP", parse_http, "an address or off", "off"},
    {"MALLARD_HTTP_TOKEN", parse_token, "a token", "none"},
    {"MALLARD_EAGER", parse_eager, "0 or 1", "0"},
    {"MALLARD_KEEP", parse_keep, "0 or 1", "0"},
    {"MALLARD_DEBUG", parse_debug, "a list such as scavtrace=1", "none"},
};

void mal_options_read(void) {
    if (mal_process_is_secure())
        return;
    /* GODEBUG is for Go programs first: what it says beyond our names is none of our business. */
    bool all_known;
    const char *godebug = mal_env("GODEBUG");
    if (godebug && !mal_env("MALLARD_DEBUG"))
        mal_options.flags |= debug_flags(godebug, &all_known);
    for (size_t i = 0; i < MAL_COUNT_OF(knobs); i++) {
        const char *value = mal_env(knobs[i].name);
        if (value && !knobs[i].parse(value))
            mal_warn("%s=%s is not %s: using %s", knobs[i].name, value, knobs[i].expected,
                     knobs[i].fallback);
    }
}

const char *mal_options_text(void) {
    static char text[512];
    mal_format(text, sizeof text,
               "MALLARD_MEMPROFILERATE=%lu\nMALLARD_CPU_CACHE=%s\nMALLARD_HTTP=%s\n",
               (unsigned long)mal_options.mem_profile_rate,
               mal_options.cpu_cache == MAL_PERCPU_LOCK ? "lock" : "rseq",
               mal_options.http ? mal_options.http : "off");
    return text;
}
