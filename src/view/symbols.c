/* SPDX-License-Identifier: Apache-2.0
 *
 * From addresses to names: one session.
 *
 * A session asks the cache (symbol_cache.c), and what the cache does not know, the files of the
 * module. A second view of the same addresses opens nothing at all.
 *
 * Life of a file: opened at the first address that the cache does not know, kept open as long as
 * every further session asks something new, closed at the end of the first one that does not, or
 * when a server has had nothing to do for some seconds (http/worker.c). So a quiet server, or a
 * plugin inside somebody's program, holds no debug information.
 *
 * Life of a name: for good, except that an address which got a made-up name because no file was
 * there is asked for again once there is one.
 *
 * The cache is dropped as a whole when it has grown beyond SYMBOL_CACHE_MAX_BYTES, at the begin of
 * a session, when nothing it gave out is in use. Within a session it may grow further by names that
 * files tell; a box that makes up addresses gets no more than the module's name for them then.
 *
 * SYNCHRONIZATION: one mutex, held from the begin to the end of a session.
 */
#include "view/symbols.h"

#include "view/symbol_cache.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct symbol_module *session_module(struct view_session *session, size_t number) {
    if (!session->modules[number]) {
        struct view_module_key key;
        symbol_key_of(session->snapshot, number, &key);
        session->modules[number] =
            symbol_module_of(session->symbols, &key, session->snapshot->modules[number].path);
    }
    return session->modules[number];
}

/* The whole path of the frame's file; "" where unknown. */
static const char *whole_path(struct view_symbols *symbols, const struct raw_frame *raw) {
    char path[PATH_MAX];
    if (!raw->file || raw->file[0] == '/' || !raw->folder)
        return symbol_cache_text(symbols, raw->file ? raw->file : "");
    int length = snprintf(path, sizeof(path), "%s/%s", raw->folder, raw->file);
    return symbol_cache_text(symbols, (size_t)length < sizeof(path) ? path : raw->file);
}

static bool fill_frame(struct view_symbols *symbols, const struct raw_frame *raw,
                       struct view_frame *frame) {
    const char *system_name = raw->linkage_name ? raw->linkage_name : raw->name;
    char *readable = system_name ? view_demangle(system_name) : NULL;
    frame->system_name = symbol_cache_text(symbols, system_name ? system_name : "");
    frame->name = readable ? symbol_cache_text(symbols, readable)
                           : symbol_cache_text(symbols, raw->name ? raw->name : frame->system_name);
    frame->file = whole_path(symbols, raw);
    frame->line = raw->line;
    frame->start_line = raw->start_line;
    free(readable);
    return frame->system_name && frame->name && frame->file;
}

static int fill_symbol(struct view_symbols *symbols, const struct raw_symbol *raw,
                       struct view_symbol *ret_symbol) {
    struct view_frame *frames = view_arena_alloc(&symbols->arena, raw->count, sizeof(*frames));
    if (!frames)
        return -ENOMEM;
    for (uint32_t i = 0; i < raw->count; i++) {
        if (!fill_frame(symbols, &raw->frames[i], &frames[i]))
            return -ENOMEM;
    }
    *ret_symbol = (struct view_symbol){frames, raw->count, raw->source, raw->entry};
    return 0;
}

/* Opens the module's files unless this session has tried already. */
static struct symbol_file *module_file(const struct view_session *session, size_t number) {
    struct symbol_module *module = session->modules[number];
    const struct mal_snapshot *snapshot = session->snapshot;
    struct symbol_process process = {snapshot->root, snapshot->pid};
    if (!module->file && !module->missing)
        module->missing =
            symbol_file_open(&snapshot->modules[number], &process, number == 0, &module->file) != 0;
    module->used = true;
    return module->file;
}

/* A made-up name: the module's with the address behind it, or the module's alone. */
static int make_up(struct view_symbols *symbols, const struct symbol_module *module,
                   const uint64_t *address, struct view_symbol *ret_symbol) {
    char text[512];
    const char *base = view_base_name(module->path);
    struct raw_symbol raw = {.count = 1, .source = VIEW_SYMBOL_OFFSET};
    snprintf(text, sizeof(text), "%s+0x%llx", base, address ? (unsigned long long)*address : 0);
    raw.frames[0].name = address ? text : base;
    return fill_symbol(symbols, &raw, ret_symbol);
}

/* What the files say about an address: 1, or 0 when that is nothing, or -ENOMEM. */
static int ask_files(const struct view_session *session, size_t number,
                     struct symbol_known *known) {
    struct symbol_file *file = module_file(session, number);
    struct raw_symbol raw;
    known->flags = file ? 0 : SYMBOL_MADE_UP;
    if (!file || !symbol_file_find(file, known->address, &raw))
        return 0;
    int error = fill_symbol(session->symbols, &raw, &known->symbol);
    if (!error)
        known->flags = SYMBOL_UNSAVED;
    return error ? error : 1;
}

/* The module's name alone, once for all addresses that get no more. */
static int give_nameless(struct view_symbols *symbols, struct symbol_module *module,
                         struct view_symbol *ret_symbol) {
    int error = module->nameless.frames ? 0 : make_up(symbols, module, NULL, &module->nameless);
    *ret_symbol = module->nameless;
    return error;
}

/* An address that the cache does not know. */
static int resolve(const struct view_session *session, size_t number, uint64_t address,
                   struct view_symbol *ret_symbol) {
    struct view_symbols *symbols = session->symbols;
    struct symbol_module *module = session->modules[number];
    struct symbol_known known = {.address = address};
    int told = ask_files(session, number, &known);
    if (told == 0 && symbol_cache_bytes(symbols) > SYMBOL_CACHE_MAX_BYTES)
        return give_nameless(symbols, module, ret_symbol);
    if (told == 0)
        told = make_up(symbols, module, &address, &known.symbol);
    int error = told < 0 ? told : symbol_module_add(symbols, module, &known);
    *ret_symbol = known.symbol;
    return error;
}

/* One with a made-up name, which a file may better now. */
static int resolve_again(const struct view_session *session, size_t number,
                         struct symbol_known *known) {
    struct symbol_known better = {.address = known->address};
    int told = ask_files(session, number, &better);
    if (told > 0)
        *known = better;
    else if (told == 0)
        known->flags = better.flags;
    return told < 0 ? told : 0;
}

int view_session_symbol(struct view_session *session, size_t module, uint64_t address,
                        struct view_symbol *ret_symbol) {
    struct symbol_module *cached = session_module(session, module);
    if (!cached)
        return -ENOMEM;
    uint64_t bias = session->snapshot->modules[module].load_bias;
    struct symbol_known *known = symbol_module_find(cached, address - bias);
    struct view_symbol symbol;
    int error = 0;
    if (known && known->flags & SYMBOL_MADE_UP && !cached->missing)
        error = resolve_again(session, module, known);
    if (known)
        symbol = known->symbol;
    else
        error = resolve(session, module, address - bias, &symbol);
    if (error)
        return error;
    if (symbol.entry != 0)
        symbol.entry += bias;
    *ret_symbol = symbol;
    return 0;
}

void view_symbols_set_store(struct view_symbols *symbols, const struct view_symbols_store *store) {
    pthread_mutex_lock(&symbols->lock);
    symbols->store = *store;
    pthread_mutex_unlock(&symbols->lock);
}

int view_session_begin(struct view_session *session, struct view_symbols *symbols,
                       const struct mal_snapshot *snapshot) {
    struct symbol_module **modules =
        calloc(snapshot->module_count + 1, sizeof(struct symbol_module *));
    if (!modules)
        return -ENOMEM;
    pthread_mutex_lock(&symbols->lock);
    if (symbol_cache_bytes(symbols) > SYMBOL_CACHE_MAX_BYTES)
        symbol_cache_drop(symbols);
    for (size_t i = 0; i < symbols->module_count; i++)
        symbols->modules[i]->used = symbols->modules[i]->missing = false;
    *session = (struct view_session){symbols, snapshot, modules};
    return 0;
}

void view_session_end(struct view_session *session) {
    struct view_symbols *symbols = session->symbols;
    for (size_t i = 0; i < symbols->module_count; i++) {
        struct symbol_module *module = symbols->modules[i];
        if (module->used)
            symbol_module_save(symbols, module);
        else
            symbol_module_rest(module);
    }
    pthread_mutex_unlock(&symbols->lock);
    free(session->modules);
    *session = (struct view_session){0};
}

bool view_symbols_rest(struct view_symbols *symbols) {
    bool closed = false;
    pthread_mutex_lock(&symbols->lock);
    for (size_t i = 0; i < symbols->module_count; i++) {
        closed |= symbols->modules[i]->file != NULL;
        symbol_module_rest(symbols->modules[i]);
    }
    pthread_mutex_unlock(&symbols->lock);
    return closed;
}

size_t view_symbols_bytes(struct view_symbols *symbols) {
    pthread_mutex_lock(&symbols->lock);
    size_t bytes = symbol_cache_bytes(symbols);
    pthread_mutex_unlock(&symbols->lock);
    return bytes;
}

size_t view_module_of(const struct mal_snapshot *snapshot, uint64_t pc) {
    size_t unloaded = VIEW_NO_MODULE;
    for (size_t i = snapshot->module_count; i-- > 0;) {
        const struct mal_snapshot_module *module = &snapshot->modules[i];
        if (pc < module->start || pc >= module->limit)
            continue;
        if (!module->unloaded)
            return i;
        if (unloaded == VIEW_NO_MODULE)
            unloaded = i;
    }
    return unloaded;
}

const char *view_base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}
