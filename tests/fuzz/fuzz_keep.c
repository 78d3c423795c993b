/* SPDX-License-Identifier: Apache-2.0
 *
 * What a user may write into their own files of the keep folder. The first byte picks which one the
 * rest is: facts ('f'), names ('n') or the history ('h'); anything else tries all three.
 *
 * Beyond not crashing: facts that were read are written and read again as the same ones; names that
 * were taken have the shape that views rely on; rows come out in order and within what was asked.
 */
#include "keep/keep_private.h"
#include "view/symbols.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void require(int condition) {
    if (!condition)
        abort();
}

/* A copy that ends where the input does, and a NUL as keep_load puts it. */
static char *copy_of(const uint8_t *data, size_t bytes) {
    char *copy = malloc(bytes + 1);
    require(copy != NULL);
    if (bytes > 0)
        memcpy(copy, data, bytes);
    copy[bytes] = '\0';
    return copy;
}

/* ------------------------------------------------------------------------------------- facts */

static void format_parsed(char *text, size_t bytes, struct view_buffer *out) {
    struct keep_facts facts = {.pid = 1, .boot = "01234567"};
    require(keep_facts_parse(text, bytes, &facts) == 0);
    require(facts.exe && facts.cmdline && facts.unit && facts.container && facts.pod &&
            facts.service && facts.cgroup && facts.sentence);
    require(facts.cmdline[facts.cmdline_bytes] == '\0' && facts.death <= KEEP_DEATH_OOM);
    require(keep_facts_format(&facts, out) == 0);
    keep_facts_free(&facts);
}

static void try_facts(const uint8_t *data, size_t bytes) {
    struct view_buffer once = {0}, twice = {0};
    char *text = copy_of(data, bytes);
    format_parsed(text, bytes, &once);
    format_parsed(once.data, once.bytes, &twice);
    require(once.bytes == twice.bytes && memcmp(once.data, twice.data, once.bytes) == 0);
    view_buffer_free(&once);
    view_buffer_free(&twice);
    free(text);
}

/* ------------------------------------------------------------------------------------- names */

struct names {
    const uint8_t *data;
    size_t bytes;
};

static int load_names(void *context, const struct view_module_key *key,
                      struct view_symbol_sink *sink) {
    const struct names *names = context;
    (void)key;
    char *text = copy_of(names->data, names->bytes);
    require(keep_symbols_parse(text, names->bytes, sink) == 0);
    free(text);
    return 0;
}

static void check_symbol(const struct view_symbol *symbol) {
    require(symbol->frame_count >= 1 && symbol->frame_count <= VIEW_FRAMES_MAX);
    for (uint32_t i = 0; i < symbol->frame_count; i++) {
        const struct view_frame *frame = &symbol->frames[i];
        require(frame->name[0] != '\0' && frame->system_name && frame->file);
        require(frame->line >= 0 && frame->start_line >= 0);
    }
}

static void try_names(const uint8_t *data, size_t bytes) {
    struct names names = {data, bytes};
    const struct view_symbols_store store = {load_names, NULL, &names};
    struct mal_snapshot_module module = {
        .limit = UINT64_MAX, .path = "/nowhere/lib", .build_id_bytes = 1, .build_id = {7}};
    const struct mal_snapshot snapshot = {.root = "", .module_count = 1, .modules = &module};
    struct view_symbols *symbols;
    struct view_session session;
    struct view_symbol symbol;
    require(view_symbols_create(&symbols) == 0);
    view_symbols_set_store(symbols, &store);
    require(view_session_begin(&session, symbols, &snapshot) == 0);
    for (uint64_t address = 0; address < 32; address++) {
        require(view_session_symbol(&session, 0, address, &symbol) == 0);
        check_symbol(&symbol);
    }
    view_session_end(&session);
    view_symbols_destroy(symbols);
}

/* ----------------------------------------------------------------------------------- history */

static char folder[] = "/tmp/mallard-fuzz-XXXXXX";
static int folder_fd = -1;

static void remove_folder(void) {
    unlinkat(folder_fd, KEEP_HISTORY, 0);
    rmdir(folder);
}

static void make_folder(void) {
    require(mkdtemp(folder) != NULL);
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    require(folder_fd >= 0);
    atexit(remove_folder);
}

static void check_rows(uint64_t from_unix_ns, uint64_t to_unix_ns, size_t max) {
    struct mal_box_history_row *rows = malloc(max * sizeof(*rows) + 1);
    require(rows != NULL);
    long count = keep_rows(folder, from_unix_ns, to_unix_ns, rows, max);
    require(count >= 0 && (size_t)count <= max);
    for (long i = 0; i < count; i++) {
        require(rows[i].unix_ns >= from_unix_ns && rows[i].unix_ns <= to_unix_ns);
        require(i == 0 || rows[i].unix_ns > rows[i - 1].unix_ns);
    }
    free(rows);
}

static void try_history(const uint8_t *data, size_t bytes) {
    if (folder_fd < 0)
        make_folder();
    int fd = openat(folder_fd, KEEP_HISTORY, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(fd >= 0 && keep_write_all(fd, data, bytes) == 0);
    close(fd);
    check_rows(0, UINT64_MAX, bytes / sizeof(struct mal_box_history_row) + 1);
    check_rows(0, UINT64_MAX, 1);
    check_rows(1000, 5000, 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes == 0)
        return 0;
    uint8_t kind = data[0];
    bool all = kind != 'f' && kind != 'n' && kind != 'h';
    if (all || kind == 'f')
        try_facts(data + 1, bytes - 1);
    if (all || kind == 'n')
        try_names(data + 1, bytes - 1);
    if (all || kind == 'h')
        try_history(data + 1, bytes - 1);
    return 0;
}
