/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading the knobs.
 *
 * One table: name, how to parse, what is said when it does not parse. A program that runs with more
 * rights than its caller ignores the environment altogether. Parsing is strict and total: a knob
 * that does not parse changes nothing and is named on standard error with the value used instead;
 * no knob ever ends the program. An empty one is one that is not set: that is how scripts, units
 * and containers take a variable back, and how Go reads its own.
 *
 * SYNCHRONIZATION. The knobs are read once, before a second thread, and constant from then on.
 */
#include "front/options.h"

#include "base/format.h"
#include "os/cgroup.h"
#include "os/env.h"
#include "os/say.h"
#include "pageheap/limit.h"
#include "sample/sampler.h"

#include <stdbool.h>
#include <string.h>

struct mal_options mal_options = {.mem_profile_rate = MAL_RATE_DEFAULT_BYTES,
                                  .memory_limit_bytes = MAL_LIMIT_OFF,
                                  .gogc_percent = 100,
                                  .cpu_cache = MAL_PERCPU_RSEQ};

/* A number at the start of a text, at most `most`; where it ends, or NULL. A plus sign may lead. */
static const char *parse_number(const char *text, uint64_t most, uint64_t *ret_number) {
    uint64_t number = 0;
    const char *digit = text + (*text == '+');
    if (*digit < '0' || *digit > '9')
        return NULL;
    for (; *digit >= '0' && *digit <= '9'; digit++) {
        uint64_t value = (uint64_t)(*digit - '0');
        if (number > (most - value) / 10)
            return NULL;
        number = number * 10 + value;
    }
    *ret_number = number;
    return digit;
}

/* What the unit of a number of bytes shifts it by, 64 for one that is not known. */
static unsigned unit_shift(const char *unit) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    if (!*unit)
        return 0;
    for (unsigned i = 0; i < MAL_COUNT_OF(units); i++)
        if (strcmp(unit, units[i]) == 0)
            return 10 * i;
    return 64;
}

/* A tenth is for what the process has beside its heap. */
static uint64_t limit_of_group(void) {
    uint64_t bytes = mal_cgroup_memory_limit_bytes(MAL_CGROUP_MEMBERSHIP, MAL_CGROUP_ROOT);
    return bytes == MAL_CGROUP_NO_LIMIT ? MAL_LIMIT_OFF : bytes - bytes / 10;
}

static bool parse_memory_limit(const char *value) {
    uint64_t number;
    if (strcmp(value, "off") == 0)
        return true;
    if (strcmp(value, "auto") == 0) {
        mal_options.memory_limit_bytes = limit_of_group();
        return true;
    }
    const char *unit = parse_number(value, MAL_LIMIT_OFF, &number);
    unsigned shift = unit ? unit_shift(unit) : 64;
    if (shift == 64 || number > MAL_LIMIT_OFF >> shift)
        return false;
    mal_options.memory_limit_bytes = number << shift;
    return true;
}

/* Go takes any negative number for "off". */
static bool parse_gogc(const char *value) {
    bool negative = *value == '-';
    uint64_t percent = MAL_GOGC_OFF;
    if (strcmp(value, "off") != 0) {
        const char *end = parse_number(value + negative, INT32_MAX, &percent);
        if (!end || *end || (negative && value[1] == '+'))
            return false;
    }
    mal_options.gogc_percent = negative ? MAL_GOGC_OFF : percent;
    return true;
}

static bool parse_rate(const char *value) {
    uint64_t number = 0;
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
    if (strcmp(value, "off") == 0)
        return true;
    mal_options.http = copy(text, sizeof text, value);
    return mal_options.http != NULL;
}

static bool parse_token(const char *value) {
    static char text[512];
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

/* Each entry stands for itself. */
static bool parse_debug(const char *value) {
    mal_options.debug.flags = mal_options.flags;
    mal_debug_parse(value, &mal_options.debug);
    mal_debug_complain(value, &mal_options.debug);
    mal_options.flags = mal_options.debug.flags;
    return true;
}

/* NULL where it is not set, or empty. */
static const char *value_of(const char *name) {
    const char *value = mal_env(name);
    return value && *value ? value : NULL;
}

/* GODEBUG is for Go programs first: what it says beyond our names is none of our business. */
static void read_godebug(void) {
    const char *value = value_of("GODEBUG");
    if (!value || value_of("MALLARD_DEBUG"))
        return;
    mal_options.debug.flags = mal_options.flags;
    mal_debug_parse(value, &mal_options.debug);
    mal_options.flags = mal_options.debug.flags;
}

struct knob {
    const char *name;
    bool (*parse)(const char *value); /* never an empty one */
    const char *expected;
    const char *fallback;
};

static const struct knob knobs[] = {
    {"MALLARD_MEMPROFILERATE", parse_rate, "a number of bytes", "524288"},
    {"MALLARD_GOMEMLIMIT", parse_memory_limit, "bytes such as 512MiB, auto or off", "off"},
    {"MALLARD_GOGC", parse_gogc, "a percentage or off", "100"},
    {"MALLARD_CPU_CACHE", parse_cpu_cache, "rseq or lock", "rseq"},
    {"MALLARD_HTTP", parse_http, "an address or off", "off"},
    {"MALLARD_HTTP_TOKEN", parse_token, "a token of at most 511 bytes", "none"},
    {"MALLARD_EAGER", parse_eager, "0 or 1", "0"},
    {"MALLARD_KEEP", parse_keep, "0 or 1", "0"},
    {"MALLARD_DEBUG", parse_debug, "a list such as scavtrace=1", "none"},
};

/* A knob that is Go's has Go's name behind our prefix, and is read by that name where ours is not
 * set. */
static const char *name_in_use(const struct knob *knob) {
    const char *gos = knob->name + strlen("MALLARD_");
    bool has_gos = strncmp(gos, "GO", 2) == 0 && !value_of(knob->name) && value_of(gos);
    return has_gos ? gos : knob->name;
}

/* Standard error is read by more people than the environment. */
static const char *shown(const struct knob *knob, const char *value) {
    return knob->parse == parse_token ? "..." : value;
}

void mal_options_read(void) {
    if (mal_process_is_secure())
        return;
    read_godebug();
    for (size_t i = 0; i < MAL_COUNT_OF(knobs); i++) {
        const char *name = name_in_use(&knobs[i]);
        const char *value = value_of(name);
        if (value && !knobs[i].parse(value))
            mal_warn("%s=%s is not %s: using %s", name, shown(&knobs[i], value), knobs[i].expected,
                     knobs[i].fallback);
    }
}

#define NUMBER_BYTES 24
static const char *number_or_off(char text[NUMBER_BYTES], uint64_t number, uint64_t off) {
    if (number == off)
        return "off";
    mal_format(text, NUMBER_BYTES, "%lu", (unsigned long)number);
    return text;
}

const char *mal_options_text(void) {
    static char text[512];
    char limit[NUMBER_BYTES], gogc[NUMBER_BYTES];
    mal_format(text, sizeof text,
               "MALLARD_MEMPROFILERATE=%lu\nMALLARD_GOMEMLIMIT=%s\nMALLARD_GOGC=%s\n"
               "MALLARD_CPU_CACHE=%s\nMALLARD_HTTP=%s\n",
               (unsigned long)mal_options.mem_profile_rate,
               number_or_off(limit, mal_options.memory_limit_bytes, MAL_LIMIT_OFF),
               number_or_off(gogc, mal_options.gogc_percent, MAL_GOGC_OFF),
               mal_options.cpu_cache == MAL_PERCPU_LOCK ? "lock" : "rseq",
               mal_options.http ? mal_options.http : "off");
    return text;
}
