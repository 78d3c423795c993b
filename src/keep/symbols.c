/* SPDX-License-Identifier: Apache-2.0
 *
 * Names that were resolved once, so that a binary upgraded or deleted later still has them.
 *
 * One file for each module of each user, KEEP/symbols/NAME.UID, NAME being the build-id; one line
 * for each address, fields parted by tabs and escaped (see escape.c):
 *
 *     0x1a2b  0x1a00  d  name  system name  file  line  start line  name ...  .
 *
 * address and entry of the function, d for debug information or t for a symbol table, then five
 * fields for each frame, innermost first, then a dot. Only appended to, in one write a session. A
 * batch begins with an empty line, so that a torn line before it is one of its own, and the dot
 * tells that a line is whole.
 *
 * The user is part of the name since anybody can make a binary with the build-id of another: what
 * it calls its functions is believed for its owner's processes only. The file belongs to that user,
 * who may put into it whatever they like; a line that breaks a rule is passed over.
 *
 * SYNCHRONIZATION: the symbol cache calls under its lock. Appending takes the store's lock, so that
 * trimming removes no file in the middle of it.
 */
#include "view/symbols.h"
#include "keep/keep_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAME_FIELDS 5
#define FIELDS_MAX (3 + FRAME_FIELDS * VIEW_FRAMES_MAX + 1)
#define LINE_MAX_BYTES (64u << 10)

/* ----------------------------------------------------------------------------------- reading */

/* Parts the line at its tabs, in place. Returns how many fields there are, 0 for too many. */
static size_t split(char *line, size_t bytes, char *fields[FIELDS_MAX]) {
    size_t count = 0;
    char *at = line, *end = line + bytes;
    while (count < FIELDS_MAX) {
        char *tab = memchr(at, '\t', (size_t)(end - at));
        fields[count++] = at;
        *(tab ? tab : end) = '\0';
        if (!tab)
            return count;
        at = tab + 1;
    }
    return 0;
}

static bool parse_address(const char *text, uint64_t *ret_address) {
    char *end;
    if (text[0] != '0' || text[1] != 'x' || strlen(text) > 18 ||
        strspn(text + 2, "0123456789abcdef") != strlen(text + 2))
        return false;
    *ret_address = strtoull(text, &end, 16);
    return end > text + 2;
}

static bool parse_line_number(const char *text, int64_t *ret_line) {
    uint64_t value;
    if (!keep_parse_number(text, '\0', &value) || value > INT32_MAX)
        return false;
    *ret_line = (int64_t)value;
    return true;
}

static bool parse_text(char *field, const char **ret_text) {
    long bytes = keep_unescape(field, strlen(field));
    if (bytes < 0 || memchr(field, '\0', (size_t)bytes))
        return false;
    field[bytes] = '\0';
    *ret_text = field;
    return true;
}

static bool parse_frame(char **fields, struct view_frame *frame) {
    return parse_text(fields[0], &frame->name) && parse_text(fields[1], &frame->system_name) &&
           parse_text(fields[2], &frame->file) && parse_line_number(fields[3], &frame->line) &&
           parse_line_number(fields[4], &frame->start_line) && frame->name[0];
}

static bool parse_source(const char *text, enum view_symbol_source *ret_source) {
    *ret_source = text[0] == 'd' ? VIEW_SYMBOL_DWARF : VIEW_SYMBOL_TABLE;
    return (text[0] == 'd' || text[0] == 't') && text[1] == '\0';
}

/* Fills in `frames`, which the symbol then points to. */
static bool parse_symbol(char *fields[], size_t count, uint64_t *address,
                         struct view_frame frames[VIEW_FRAMES_MAX], struct view_symbol *symbol) {
    if (count < 3 + FRAME_FIELDS + 1 || (count - 4) % FRAME_FIELDS != 0 ||
        strcmp(fields[count - 1], ".") != 0)
        return false;
    symbol->frames = frames;
    symbol->frame_count = (uint32_t)((count - 4) / FRAME_FIELDS);
    if (!parse_address(fields[0], address) || !parse_address(fields[1], &symbol->entry) ||
        !parse_source(fields[2], &symbol->source))
        return false;
    for (uint32_t i = 0; i < symbol->frame_count; i++) {
        if (!parse_frame(fields + 3 + FRAME_FIELDS * i, &frames[i]))
            return false;
    }
    return true;
}

int keep_symbols_parse(char *text, size_t bytes, struct view_symbol_sink *sink) {
    char *end = text + bytes, *line_end;
    int error = 0;
    for (; !error && (line_end = memchr(text, '\n', (size_t)(end - text))) != NULL;
         text = line_end + 1) {
        char *fields[FIELDS_MAX];
        struct view_frame frames[VIEW_FRAMES_MAX];
        struct view_symbol symbol;
        uint64_t address;
        if (line_end - text > LINE_MAX_BYTES || memchr(text, '\0', (size_t)(line_end - text)))
            continue;
        size_t count = split(text, (size_t)(line_end - text), fields);
        if (parse_symbol(fields, count, &address, frames, &symbol))
            error = view_symbol_sink_add(sink, address, &symbol);
    }
    return error;
}

/* ----------------------------------------------------------------------------------- writing */

static void put_text(const char *text, struct view_buffer *out) {
    view_buffer_text(out, "\t");
    keep_escape(text, strlen(text), out);
}

static void put_symbol(const struct view_known_symbol *known, struct view_buffer *out) {
    const struct view_symbol *symbol = &known->symbol;
    view_buffer_printf(out, "0x%" PRIx64 "\t0x%" PRIx64 "\t%c", known->address, symbol->entry,
                       symbol->source == VIEW_SYMBOL_DWARF ? 'd' : 't');
    for (uint32_t i = 0; i < symbol->frame_count; i++) {
        const struct view_frame *frame = &symbol->frames[i];
        put_text(frame->name, out);
        put_text(frame->system_name, out);
        put_text(frame->file, out);
        view_buffer_printf(out, "\t%" PRId64 "\t%" PRId64, frame->line, frame->start_line);
    }
    view_buffer_text(out, "\t.\n");
}

/* As many symbols as fit into `room` bytes. */
static void put_batch(const struct view_known_symbol *symbols, size_t count, uint64_t room,
                      struct view_buffer *out) {
    view_buffer_text(out, "\n");
    for (size_t i = 0; i < count; i++) {
        size_t before = out->bytes;
        put_symbol(&symbols[i], out);
        if (out->bytes - before > LINE_MAX_BYTES) {
            out->bytes = before;
        } else if (out->bytes > room) {
            out->bytes = before;
            return;
        }
    }
}

/* The folder of names: a descriptor or -errno. */
static int open_names(const struct keep_store *store) {
    bool made = store->writable && mkdirat(store->fd, KEEP_NAMES, keep_folder_mode()) == 0;
    int fd = keep_open_folder(store->fd, KEEP_NAMES);
    if (fd >= 0 && made)
        fchmod(fd, keep_folder_mode()); /* whatever the umask */
    return fd;
}

static void file_name(const struct view_module_key *key, char ret_name[KEEP_FILE_NAME_BYTES]) {
    snprintf(ret_name, KEEP_FILE_NAME_BYTES, "%s.%" PRIu32, key->name, key->owner_uid);
}

static void append(int folder, const struct view_module_key *key,
                   const struct view_known_symbol *symbols, size_t count) {
    char name[KEEP_FILE_NAME_BYTES];
    struct view_buffer text = {0};
    struct stat status;
    file_name(key, name);
    int fd = openat(folder, name,
                    O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                    0600);
    if (fd < 0)
        return;
    bool fits = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
                (uint64_t)status.st_size < KEEP_NAMES_MAX_BYTES;
    if (fits && (status.st_size > 0 || keep_hand_over(fd, key->owner_uid) == 0)) {
        put_batch(symbols, count, KEEP_NAMES_MAX_BYTES - (uint64_t)status.st_size, &text);
        if (!text.failed && text.bytes > 1)
            keep_write_all(fd, text.data, text.bytes);
    }
    view_buffer_free(&text);
    close(fd);
}

/* ---------------------------------------------------------------------------------- the hooks */

static int load(void *context, const struct view_module_key *key, struct view_symbol_sink *sink) {
    const struct keep_store *store = context;
    char name[KEEP_FILE_NAME_BYTES], *text;
    struct stat status;
    int folder = keep_open_folder(store->fd, KEEP_NAMES);
    if (folder < 0)
        return folder;
    file_name(key, name);
    int error = keep_load(folder, name, KEEP_NAMES_MAX_BYTES, &text, &status);
    close(folder);
    if (error)
        return error;
    error = keep_symbols_parse(text, (size_t)status.st_size, sink);
    free(text);
    return error;
}

static void save(void *context, const struct view_module_key *key,
                 const struct view_known_symbol *symbols, size_t count) {
    struct keep_store *store = context;
    pthread_mutex_lock(&store->lock);
    int folder = open_names(store);
    if (folder >= 0) {
        append(folder, key, symbols, count);
        close(folder);
    }
    pthread_mutex_unlock(&store->lock);
}

int keep_symbols_attach(struct keep_store *store, struct view_symbols *symbols) {
    const struct view_symbols_store hooks = {load, store->writable ? save : NULL, store};
    view_symbols_set_store(symbols, &hooks);
    return 0;
}
