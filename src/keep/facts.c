/* SPDX-License-Identifier: Apache-2.0
 *
 * Facts as text: one line KEY=VALUE for each that is known, values escaped (see escape.c).
 *
 *     pid=1234
 *     exe=/usr/bin/redis-server
 *     cmdline=redis-server\x00--port\x006379
 *     death=oom
 *
 * One table names the keys and says what each holds; both directions walk it. What is not known has
 * no line.
 *
 * A reader of hostile text: the first line of a key counts, a line that does not parse counts as
 * not there, unknown keys are passed over, strings are cut to what a writer writes. So each file of
 * lines is some facts; only running out of memory fails.
 */
#include "base/attr.h"
#include "keep/keep_private.h"
#include "view/symbols.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX_BYTES 4096u
#define CMDLINE_MAX_BYTES (128u << 10)

enum fact_kind {
    FACT_TEXT,
    FACT_CMDLINE,
    FACT_U32,
    FACT_U64,
    FACT_OR_UNKNOWN,
    FACT_INT,
    FACT_DEATH,
    FACT_BOOT
};

struct fact {
    const char *key;
    enum fact_kind kind;
    size_t offset; /* in struct keep_facts */
};

#define FACT(name, kind)                                                                           \
    { #name, kind, offsetof(struct keep_facts, name) }

/* The first four tell whose facts these are. On reading the folder's name and the file's owner say
 * that, and these lines are for people. */
#define IDENTITY_FACTS 4
static const struct fact facts_table[] = {
    FACT(pid, FACT_U32),
    FACT(start_ticks, FACT_U64),
    FACT(boot, FACT_BOOT),
    FACT(uid, FACT_U32),
    FACT(exe, FACT_TEXT),
    FACT(cmdline, FACT_CMDLINE),
    FACT(started_unix_ns, FACT_U64),
    FACT(ended_unix_ns, FACT_U64),
    FACT(unit, FACT_TEXT),
    FACT(container, FACT_TEXT),
    FACT(pod, FACT_TEXT),
    FACT(service, FACT_TEXT),
    FACT(cgroup, FACT_TEXT),
    FACT(death, FACT_DEATH),
    FACT(signal, FACT_INT),
    FACT(exit_code, FACT_INT),
    FACT(oom_kills, FACT_OR_UNKNOWN),
    FACT(memory_max_bytes, FACT_OR_UNKNOWN),
    FACT(memory_peak_bytes, FACT_OR_UNKNOWN),
    FACT(memory_current_bytes, FACT_OR_UNKNOWN),
    FACT(sentence, FACT_TEXT),
};

static const char *const death_names[] = {
    [KEEP_DEATH_NONE] = "none",     [KEEP_DEATH_UNKNOWN] = "unknown",
    [KEEP_DEATH_EXITED] = "exited", [KEEP_DEATH_SIGNAL] = "signal",
    [KEEP_DEATH_OOM] = "oom",
};

/* ----------------------------------------------------------------------------------- writing */

static void put_text(const struct fact *fact, const char *text, size_t bytes, size_t most,
                     struct view_buffer *out) {
    if (!text || bytes == 0)
        return;
    view_buffer_printf(out, "%s=", fact->key);
    keep_escape(text, bytes < most ? bytes : most, out);
    view_buffer_text(out, "\n");
}

static void put_fact(const struct keep_facts *facts, const struct fact *fact,
                     struct view_buffer *out) {
    const void *at = (const char *)facts + fact->offset;
    switch (fact->kind) {
    case FACT_TEXT: {
        const char *text = *(char *const *)at;
        put_text(fact, text, text ? strlen(text) : 0, TEXT_MAX_BYTES, out);
        break;
    }
    case FACT_CMDLINE:
        put_text(fact, facts->cmdline, facts->cmdline_bytes, CMDLINE_MAX_BYTES, out);
        break;
    case FACT_BOOT:
        put_text(fact, at, strlen(at), TEXT_MAX_BYTES, out);
        break;
    case FACT_U32:
        view_buffer_printf(out, "%s=%" PRIu32 "\n", fact->key, *(const uint32_t *)at);
        break;
    case FACT_U64:
        view_buffer_printf(out, "%s=%" PRIu64 "\n", fact->key, *(const uint64_t *)at);
        break;
    case FACT_OR_UNKNOWN:
        if (*(const uint64_t *)at != KEEP_UNKNOWN)
            view_buffer_printf(out, "%s=%" PRIu64 "\n", fact->key, *(const uint64_t *)at);
        break;
    case FACT_INT:
        view_buffer_printf(out, "%s=%d\n", fact->key, *(const int *)at);
        break;
    case FACT_DEATH:
        if ((unsigned)facts->death < MAL_COUNT_OF(death_names))
            view_buffer_printf(out, "%s=%s\n", fact->key, death_names[facts->death]);
        break;
    }
}

int keep_facts_format(const struct keep_facts *facts, struct view_buffer *out) {
    for (size_t i = 0; i < MAL_COUNT_OF(facts_table); i++)
        put_fact(facts, &facts_table[i], out);
    return out->failed ? -ENOMEM : 0;
}

/* ----------------------------------------------------------------------------------- reading */

/* The value's bytes unescaped, to be freed; NULL for what was never written. *error says -ENOMEM.
 */
static char *take_text(const char *value, size_t bytes, size_t most, size_t *ret_bytes,
                       int *error) {
    char *text = malloc(bytes + 1);
    if (!text) {
        *error = -ENOMEM;
        return NULL;
    }
    memcpy(text, value, bytes);
    long length = keep_unescape(text, bytes);
    if (length < 0 || (size_t)length > most) {
        free(text);
        return NULL;
    }
    text[length] = '\0';
    *ret_bytes = (size_t)length;
    return text;
}

static int parse_text(const char *value, size_t bytes, char **text) {
    size_t length;
    int error = 0;
    char *copy = take_text(value, bytes, TEXT_MAX_BYTES, &length, &error);
    if (copy && memchr(copy, '\0', length)) {
        free(copy);
        return 0;
    }
    if (copy) {
        free(*text);
        *text = copy;
    }
    return error;
}

static int parse_cmdline(const char *value, size_t bytes, struct keep_facts *facts) {
    size_t length;
    int error = 0;
    char *copy = take_text(value, bytes, CMDLINE_MAX_BYTES, &length, &error);
    if (copy) {
        free(facts->cmdline);
        facts->cmdline = copy;
        facts->cmdline_bytes = length;
    }
    return error;
}

static void parse_death(const char *value, size_t bytes, struct keep_facts *facts) {
    for (size_t i = 0; i < MAL_COUNT_OF(death_names); i++) {
        if (strlen(death_names[i]) == bytes && memcmp(death_names[i], value, bytes) == 0)
            facts->death = (enum keep_death)i;
    }
}

/* `value` ends with the byte '\n'. */
static int parse_fact(const struct fact *fact, const char *value, size_t bytes,
                      struct keep_facts *facts) {
    void *at = (char *)facts + fact->offset;
    uint64_t number;
    switch (fact->kind) {
    case FACT_TEXT:
        return parse_text(value, bytes, at);
    case FACT_CMDLINE:
        return parse_cmdline(value, bytes, facts);
    case FACT_DEATH:
        parse_death(value, bytes, facts);
        return 0;
    case FACT_U64:
    case FACT_OR_UNKNOWN:
        if (keep_parse_number(value, '\n', &number))
            *(uint64_t *)at = number;
        return 0;
    case FACT_INT:
        if (keep_parse_number(value, '\n', &number) && number <= INT_MAX)
            *(int *)at = (int)number;
        return 0;
    case FACT_U32:
    case FACT_BOOT:
        return 0;
    }
    return 0;
}

static const struct fact *find_fact(const char *key, size_t bytes) {
    for (size_t i = IDENTITY_FACTS; i < MAL_COUNT_OF(facts_table); i++) {
        const char *name = facts_table[i].key;
        if (strlen(name) == bytes && memcmp(name, key, bytes) == 0)
            return &facts_table[i];
    }
    return NULL;
}

/* The end of a file that was torn is no line. */
static int parse_lines(const char *text, size_t bytes, struct keep_facts *facts) {
    uint32_t seen = 0;
    const char *end = text + bytes, *line_end;
    _Static_assert(MAL_COUNT_OF(facts_table) <= 32, "one bit each");
    for (; (line_end = memchr(text, '\n', (size_t)(end - text))) != NULL; text = line_end + 1) {
        const char *equals = memchr(text, '=', (size_t)(line_end - text));
        const struct fact *fact = equals ? find_fact(text, (size_t)(equals - text)) : NULL;
        uint32_t bit = fact ? 1u << (fact - facts_table) : 0;
        if (!fact || seen & bit)
            continue;
        seen |= bit;
        int error = parse_fact(fact, equals + 1, (size_t)(line_end - equals - 1), facts);
        if (error)
            return error;
    }
    return 0;
}

/* Nothing known: "" and KEEP_UNKNOWN everywhere. */
static int facts_clear(struct keep_facts *facts) {
    bool good = true;
    for (size_t i = 0; i < MAL_COUNT_OF(facts_table); i++) {
        void *at = (char *)facts + facts_table[i].offset;
        if (facts_table[i].kind == FACT_OR_UNKNOWN)
            *(uint64_t *)at = KEEP_UNKNOWN;
        if (facts_table[i].kind == FACT_TEXT || facts_table[i].kind == FACT_CMDLINE)
            good &= (*(char **)at = calloc(1, 1)) != NULL;
    }
    return good ? 0 : -ENOMEM;
}

int keep_facts_parse(const char *text, size_t bytes, struct keep_facts *facts) {
    struct keep_facts parsed = {
        .pid = facts->pid, .uid = facts->uid, .start_ticks = facts->start_ticks};
    memcpy(parsed.boot, facts->boot, sizeof(parsed.boot));
    int error = facts_clear(&parsed);
    if (!error)
        error = parse_lines(text, bytes, &parsed);
    if (error) {
        keep_facts_free(&parsed);
        return error;
    }
    *facts = parsed;
    return 0;
}

void keep_facts_free(struct keep_facts *facts) {
    for (size_t i = 0; i < MAL_COUNT_OF(facts_table); i++) {
        char **text = (char **)(void *)((char *)facts + facts_table[i].offset);
        if (facts_table[i].kind != FACT_TEXT && facts_table[i].kind != FACT_CMDLINE)
            continue;
        free(*text);
        *text = NULL;
    }
    facts->cmdline_bytes = 0;
}

/* ---------------------------------------------------------------------------- a folder's facts */

int keep_facts_of(int folder, const char *name, struct keep_facts *ret_facts) {
    struct keep_facts facts = {0};
    struct stat status;
    char *text;
    if (!keep_folder_parse(name, &facts))
        return -EINVAL;
    int error = keep_load(folder, KEEP_FACTS, KEEP_FACTS_MAX_BYTES, &text, &status);
    if (error)
        return error;
    facts.uid = status.st_uid;
    error = keep_facts_parse(text, (size_t)status.st_size, &facts);
    free(text);
    if (!error)
        *ret_facts = facts;
    return error;
}

int keep_read_facts(const char *folder, struct keep_facts *ret_facts) {
    int fd = keep_open_folder(AT_FDCWD, folder);
    if (fd < 0)
        return fd;
    int error = keep_facts_of(fd, view_base_name(folder), ret_facts);
    close(fd);
    return error;
}
