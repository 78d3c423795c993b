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
    if (!*value || strcmp(value, "off") == 0)
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
    if (!*value)
        return true;
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

#define SIMULATED_CPUS_MAX 1024u

/* What a list of MALLARD_DEBUG asks for. */
struct debug_list {
    uint32_t flags; /* enum mal_option_flags */
    uint32_t cpus;
};

static void set_flag(struct debug_list *list, uint32_t flag, uint32_t value) {
    list->flags = value ? list->flags | flag : list->flags & ~flag;
}

static void set_cpus(struct debug_list *list, uint32_t unused, uint32_t value) {
    (void)unused;
    list->cpus = value;
}

/* For what is on unless it is said to be off. */
static void clear_flag(struct debug_list *list, uint32_t flag, uint32_t value) {
    set_flag(list, flag, !value);
}

struct debug_name {
    const char *name;
    uint32_t most; /* every value is a number from 0 to this */
    void (*set)(struct debug_list *list, uint32_t flag, uint32_t value);
    uint32_t flag;
};
static const struct debug_name debug_names[] = {
    {"scavtrace", 1, set_flag, MAL_OPTION_SCAVTRACE},
    {"allocfreetrace", 1, set_flag, MAL_OPTION_ALLOCFREETRACE},
    {"madvdontneed", 1, clear_flag, MAL_OPTION_MADVFREE},
    {"cpus", SIMULATED_CPUS_MAX, set_cpus, 0},
};

/* A number of one to four digits; false for anything else and for one above `most`. */
static bool debug_number(const char *digits, size_t count, uint32_t most, uint32_t *ret_number) {
    uint32_t number = 0;
    if (count < 1 || count > 4)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        number = number * 10 + (uint32_t)(digits[i] - '0');
    }
    *ret_number = number;
    return number <= most;
}

/* Takes one NAME=VALUE over into the list; false for one that is not known. */
static bool debug_entry(const char *entry, size_t bytes, struct debug_list *list) {
    for (size_t i = 0; i < MAL_COUNT_OF(debug_names); i++) {
        const struct debug_name *known = &debug_names[i];
        size_t name_bytes = strlen(known->name);
        uint32_t value;
        if (bytes <= name_bytes || strncmp(entry, known->name, name_bytes) != 0 ||
            entry[name_bytes] != '=' ||
            !debug_number(entry + name_bytes + 1, bytes - name_bytes - 1, known->most, &value))
            continue;
        known->set(list, known->flag, value);
        return true;
    }
    return false;
}

/* Entries NAME=VALUE with commas between. Returns what those that are known ask for. */
static struct debug_list debug_list(const char *value, bool *ret_all_known) {
    struct debug_list list = {0, 0};
    *ret_all_known = true;
    for (const char *entry = value; *entry;) {
        size_t bytes = strcspn(entry, ",");
        *ret_all_known &= bytes == 0 || debug_entry(entry, bytes, &list);
        entry += bytes + (entry[bytes] == ',');
    }
    return list;
}

static void obey_debug(struct debug_list list) {
    mal_options.flags |= list.flags;
    mal_options.simulated_cpus = list.cpus;
}

static bool parse_debug(const char *value) {
    bool all_known;
    struct debug_list list = debug_list(value, &all_known);
    if (all_known)
        obey_debug(list);
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
    {"MALLARD_GOMEMLIMIT", parse_memory_limit, "bytes such as 512MiB, auto or off", "off"},
    {"MALLARD_GOGC", parse_gogc, "a percentage or off", "100"},
    {"MALLARD_CPU_CACHE", parse_cpu_cache, "rseq or lock", "rseq"},
    {"MALLARD_HTTP", parse_http, "an address or off", "off"},
    {"MALLARD_HTTP_TOKEN", parse_token, "a token", "none"},
    {"MALLARD_EAGER", parse_eager, "0 or 1", "0"},
    {"MALLARD_KEEP", parse_keep, "0 or 1", "0"},
    {"MALLARD_DEBUG", parse_debug, "a list such as scavtrace=1", "none"},
};

/* A knob that is Go's has Go's name behind our prefix, and is read by that name where ours is not
 * set. */
static const char *name_in_use(const struct knob *knob) {
    const char *gos = knob->name + strlen("MALLARD_");
    bool has_gos = strncmp(gos, "GO", 2) == 0 && !mal_env(knob->name) && mal_env(gos);
    return has_gos ? gos : knob->name;
}

void mal_options_read(void) {
    if (mal_process_is_secure())
        return;
    /* GODEBUG is for Go programs first: what it says beyond our names is none of our business. */
    bool all_known;
    const char *godebug = mal_env("GODEBUG");
    if (godebug && !mal_env("MALLARD_DEBUG"))
        obey_debug(debug_list(godebug, &all_known));
    for (size_t i = 0; i < MAL_COUNT_OF(knobs); i++) {
        const char *name = name_in_use(&knobs[i]);
        const char *value = mal_env(name);
        if (value && !knobs[i].parse(value))
            mal_warn("%s=%s is not %s: using %s", name, value, knobs[i].expected,
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
