/* SPDX-License-Identifier: Apache-2.0
 *
 * The entries of MALLARD_DEBUG.
 *
 * Two tables: entries that take one of some words, each of which sets or clears bits, and entries
 * that take a number. An entry that is in neither, or has another value, is not known. Stateless.
 *
 * SYNCHRONIZATION. None.
 */
#include "front/debug.h"

#include "base/attr.h"
#include "front/options.h"
#include "gc/cycle.h"

#include <stddef.h>
#include <string.h>

#define FIELD(name) offsetof(struct mal_debug, name)

struct word_entry {
    const char *text; /* NAME=WORD */
    size_t field;
    uint32_t sets, clears;
};
#define SWITCH(name, field, bit)                                                                   \
    {name "=1", FIELD(field), (bit), 0}, {                                                         \
        name "=0", FIELD(field), 0, (bit)                                                          \
    }
static const struct word_entry words[] = {
    SWITCH("scavtrace", flags, MAL_OPTION_SCAVTRACE),
    SWITCH("allocfreetrace", flags, MAL_OPTION_ALLOCFREETRACE),
    {"madvdontneed=0", FIELD(flags), MAL_OPTION_MADVFREE, 0},
    {"madvdontneed=1", FIELD(flags), 0, MAL_OPTION_MADVFREE},
    SWITCH("gccheckmark", gc, MAL_GC_DEBUG_CHECKMARK),
    SWITCH("gcpoison", gc, MAL_GC_DEBUG_POISON),
    SWITCH("gcpacertrace", gc, MAL_GC_DEBUG_PACER_TRACE),
    SWITCH("mallocroots", gc, MAL_GC_DEBUG_MALLOC_ROOTS),
    {"gcdirty=none", FIELD(gc), MAL_GC_DEBUG_NO_DIRTY, MAL_GC_DEBUG_BESIDE},
    {"gcdirty=uffd", FIELD(gc), MAL_GC_DEBUG_BESIDE, MAL_GC_DEBUG_NO_DIRTY},
};

/* Real-time signals; libc takes the first two for itself. */
#define SIGNAL_FIRST 34
#define SIGNAL_LAST 64

struct number_entry {
    const char *name; /* NAME= */
    size_t field;
    uint32_t least, most;
};
static const struct number_entry numbers[] = {
    {"cpus=", FIELD(simulated_cpus), 0, 1024},
    {"gctrace=", FIELD(gc_trace), 0, 2},
    {"gcstress=", FIELD(gc_stress), 0, 1000000},
    {"gcsignal=", FIELD(gc_signal), SIGNAL_FIRST, SIGNAL_LAST},
};

static uint32_t *field_of(struct mal_debug *debug, size_t offset) {
    return (uint32_t *)(void *)((char *)debug + offset);
}

static bool apply_word(const char *entry, size_t bytes, struct mal_debug *debug) {
    for (size_t i = 0; i < MAL_COUNT_OF(words); i++) {
        if (strlen(words[i].text) != bytes || strncmp(entry, words[i].text, bytes) != 0)
            continue;
        uint32_t *field = field_of(debug, words[i].field);
        *field = (*field & ~words[i].clears) | words[i].sets;
        return true;
    }
    return false;
}

static bool parse_number(const char *text, size_t bytes, uint32_t *ret_number) {
    uint64_t number = 0;
    if (bytes == 0 || bytes > 9)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    *ret_number = (uint32_t)number;
    return true;
}

static bool apply_number(const char *entry, size_t bytes, struct mal_debug *debug) {
    for (size_t i = 0; i < MAL_COUNT_OF(numbers); i++) {
        size_t name_bytes = strlen(numbers[i].name);
        uint32_t number;
        if (bytes <= name_bytes || strncmp(entry, numbers[i].name, name_bytes) != 0 ||
            !parse_number(entry + name_bytes, bytes - name_bytes, &number) ||
            number < numbers[i].least || number > numbers[i].most)
            continue;
        *field_of(debug, numbers[i].field) = number;
        return true;
    }
    return false;
}

bool mal_debug_parse(const char *value, struct mal_debug *debug) {
    bool all_known = true;
    for (const char *entry = value; *entry;) {
        size_t bytes = strcspn(entry, ",");
        all_known &=
            bytes == 0 || apply_word(entry, bytes, debug) || apply_number(entry, bytes, debug);
        entry += bytes + (entry[bytes] == ',');
    }
    return all_known;
}
