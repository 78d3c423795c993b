/* SPDX-License-Identifier: Apache-2.0
 *
 * The entries of MALLARD_DEBUG.
 *
 * Two tables: entries that take one of some words, each of which sets or clears bits, and entries
 * that take a number. An entry that is in neither, or has another value, changes nothing; those
 * beside it hold all the same. What is in force for a name is read back from the bits, so a
 * complaint says what the whole list came to. Stateless.
 *
 * SYNCHRONIZATION. None.
 */
#include "front/debug.h"

#include "base/attr.h"
#include "base/bits.h"
#include "base/format.h"
#include "front/options.h"
#include "gc/cycle.h"
#include "os/say.h"

#include <stddef.h>
#include <string.h>

#define FIELD(name) offsetof(struct mal_debug, name)

/* In force when, of the bits that it sets and clears, just those are set that it sets. */
struct word_entry {
    const char *name; /* NAME= */
    const char *word;
    size_t field;
    uint32_t sets, clears;
};
#define SWITCH(name, field, bit)                                                                   \
    {name "=", "0", FIELD(field), 0, (bit)}, {                                                     \
        name "=", "1", FIELD(field), (bit), 0                                                      \
    }
/* Those of one name follow each other. */
static const struct word_entry words[] = {
    SWITCH("scavtrace", flags, MAL_OPTION_SCAVTRACE),
    SWITCH("allocfreetrace", flags, MAL_OPTION_ALLOCFREETRACE),
    {"madvdontneed=", "0", FIELD(flags), MAL_OPTION_MADVFREE, 0},
    {"madvdontneed=", "1", FIELD(flags), 0, MAL_OPTION_MADVFREE},
    SWITCH("gccheckmark", gc, MAL_GC_DEBUG_CHECKMARK),
    SWITCH("gcpoison", gc, MAL_GC_DEBUG_POISON),
    SWITCH("gcpacertrace", gc, MAL_GC_DEBUG_PACER_TRACE),
    SWITCH("mallocroots", gc, MAL_GC_DEBUG_MALLOC_ROOTS),
    {"gcdirty=", "none", FIELD(gc), MAL_GC_DEBUG_NO_DIRTY, MAL_GC_DEBUG_BESIDE},
    {"gcdirty=", "uffd", FIELD(gc), MAL_GC_DEBUG_BESIDE, MAL_GC_DEBUG_NO_DIRTY},
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
    {"cpus=", FIELD(simulated_cpus), 0, MAL_PERCPU_CPUS_MAX},
    {"gctrace=", FIELD(gc_trace), 0, 2},
    {"gcstress=", FIELD(gc_stress), 0, 1000000},
    {"gcsignal=", FIELD(gc_signal), SIGNAL_FIRST, SIGNAL_LAST},
};

static uint32_t *field_of(struct mal_debug *debug, size_t offset) {
    return (uint32_t *)(void *)((char *)debug + offset);
}

/* One NAME=VALUE of a list. */
struct item {
    const char *text;
    size_t bytes;
};

/* The next item that is not empty; false behind the last. */
static bool next_item(const char **list, struct item *ret_item) {
    *list += strspn(*list, ",");
    *ret_item = (struct item){*list, strcspn(*list, ",")};
    *list += ret_item->bytes;
    return ret_item->bytes > 0;
}

/* What follows the name, which ends with "="; NULL for an item of another name. No name holds what
 * ends an item. */
static const char *value_of(const struct item *item, const char *name) {
    size_t name_bytes = strlen(name);
    return strncmp(item->text, name, name_bytes) == 0 ? item->text + name_bytes : NULL;
}

static bool is_word(const struct item *item, const struct word_entry *entry) {
    const char *value = value_of(item, entry->name);
    size_t bytes = value ? (size_t)(item->text + item->bytes - value) : 0;
    return value && strlen(entry->word) == bytes && strncmp(value, entry->word, bytes) == 0;
}

static bool apply_word(const struct item *item, struct mal_debug *debug) {
    for (size_t i = 0; i < MAL_COUNT_OF(words); i++) {
        if (!is_word(item, &words[i]))
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

static bool apply_number(const struct item *item, struct mal_debug *debug) {
    for (size_t i = 0; i < MAL_COUNT_OF(numbers); i++) {
        const char *value = value_of(item, numbers[i].name);
        uint32_t number;
        if (!value || !parse_number(value, (size_t)(item->text + item->bytes - value), &number) ||
            number < numbers[i].least || number > numbers[i].most)
            continue;
        *field_of(debug, numbers[i].field) = number;
        return true;
    }
    return false;
}

static bool apply(const struct item *item, struct mal_debug *debug) {
    return apply_word(item, debug) || apply_number(item, debug);
}

void mal_debug_parse(const char *value, struct mal_debug *debug) {
    for (struct item item; next_item(&value, &item);)
        apply(&item, debug);
}

/* ---- complaints ---- */

/* What an entry of that name may say, and what is in force. */
#define PART_BYTES 64
struct answer {
    char expected[PART_BYTES];
    char used[PART_BYTES];
};

static bool is_in_force(const struct word_entry *entry, struct mal_debug *debug) {
    uint32_t field = *field_of(debug, entry->field);
    return (field & (entry->sets | entry->clears)) == entry->sets;
}

static bool answer_by_words(const struct item *item, struct mal_debug *debug,
                            struct answer *answer) {
    size_t length = 0;
    for (size_t i = 0; i < MAL_COUNT_OF(words); i++) {
        if (!value_of(item, words[i].name))
            continue;
        length += mal_format(answer->expected + length, PART_BYTES - length, "%s%s",
                             length > 0 ? " or " : "", words[i].word);
        if (is_in_force(&words[i], debug))
            mal_format(answer->used, PART_BYTES, "%s", words[i].word);
    }
    return length > 0;
}

static bool answer_by_numbers(const struct item *item, struct mal_debug *debug,
                              struct answer *answer) {
    for (size_t i = 0; i < MAL_COUNT_OF(numbers); i++) {
        if (!value_of(item, numbers[i].name))
            continue;
        uint32_t number = *field_of(debug, numbers[i].field);
        mal_format(answer->expected, PART_BYTES, "a number from %u to %u", numbers[i].least,
                   numbers[i].most);
        if (number >= numbers[i].least)
            mal_format(answer->used, PART_BYTES, "%u", number);
        return true;
    }
    return false;
}

static void complain(const struct item *item, struct mal_debug *debug) {
    struct answer answer = {.used = "its default"};
    char text[PART_BYTES];
    size_t bytes = mal_min(item->bytes, sizeof text - 1);
    memcpy(text, item->text, bytes);
    text[bytes] = '\0';
    if (answer_by_words(item, debug, &answer) || answer_by_numbers(item, debug, &answer))
        mal_warn("MALLARD_DEBUG=%s is not %s: using %s", text, answer.expected, answer.used);
    else
        mal_warn("MALLARD_DEBUG=%s is not known: going on without", text);
}

void mal_debug_complain(const char *value, const struct mal_debug *debug) {
    for (struct item item; next_item(&value, &item);) {
        struct mal_debug scratch = *debug;
        if (apply(&item, &scratch))
            continue;
        complain(&item, &scratch);
    }
}
