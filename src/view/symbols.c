/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache of symbols.
 *
 * Holds: modules, found again by their key (symbol_key.c); for each module what its addresses
 * resolved to; and the open files of modules that the last sessions still had questions about. A
 * second view of the same addresses opens nothing at all. With a store, a module that is new to the
 * cache begins with what the store knows of it, and what its files tell goes into the store at the
 * end of the session.
 *
 * Life of a file: opened at the first address that the cache does not know, kept open as long as
 * every further session asks something new, closed at the end of the first one that does not.
 * So a quiet server, or a plugin inside somebody's program, holds no debug information.
 *
 * Life of a name: for good, except that an address which got a made-up name because no file was
 * there is asked for again once there is one.
 *
 * The cache is dropped as a whole when it has grown beyond CACHE_MAX_BYTES, at the begin of a
 * session, when nothing it gave out is in use. Within a session it may grow further by names that
 * files tell; a box that makes up addresses gets no more than the module's name for them then.
 *
 * SYNCHRONIZATION: one mutex, held from the begin to the end of a session.
 */
#include "view/symbols.h"

#include "view/symbol_file.h"
#include "view/table.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_MAX_BYTES (16u << 20)
#define SLOTS_PER_ITEM 4 /* of a table, at its emptiest */

enum known_flags {
    KNOWN_UNSAVED = 1u << 0, /* told by a file in this session */
    KNOWN_MADE_UP = 1u << 1, /* there was no file to ask */
};

/* What one address resolved to. */
struct known {
    uint64_t address;
    struct view_symbol symbol; /* `entry` relative to the load bias */
    unsigned flags;            /* enum known_flags */
};

struct symbol_module {
    struct view_module_key key;
    const char *path; /* as first seen */

    struct view_table table; /* of `known` by address */
    struct known *known;
    size_t count, capacity;
    struct view_symbol nameless; /* for addresses that get no name of their own; frames NULL */

    struct symbol_file *file; /* NULL: not open */
    bool missing;             /* this session found no file */
    bool used;                /* this session asked the file */
};

struct view_symbols {
    pthread_mutex_t lock;
    struct view_symbols_store store;
    struct symbol_module **modules;
    size_t module_count, module_capacity;
    struct view_arena arena;      /* texts and frames of all modules */
    struct view_table text_table; /* texts that exist already */
    const char **texts;
    size_t text_count, text_capacity;
    size_t known_count; /* of all modules */
};

struct view_symbol_sink {
    struct view_symbols *symbols;
    struct symbol_module *module;
};

/* ------------------------------------------------------------------------------ the cache */

static void module_free(struct symbol_module *module) {
    symbol_file_close(module->file);
    view_table_free(&module->table);
    free(module->known);
    free(module);
}

static void cache_drop(struct view_symbols *symbols) {
    for (size_t i = 0; i < symbols->module_count; i++)
        module_free(symbols->modules[i]);
    symbols->module_count = 0;
    symbols->text_count = 0;
    symbols->known_count = 0;
    view_table_free(&symbols->text_table);
    view_arena_free(&symbols->arena);
}

static size_t cache_bytes(const struct view_symbols *symbols) {
    const size_t slots = SLOTS_PER_ITEM * sizeof(struct view_table_slot);
    return symbols->arena.total_bytes + symbols->known_count * (sizeof(struct known) + slots) +
           symbols->text_count * (sizeof(char *) + slots);
}

int view_symbols_create(struct view_symbols **ret_symbols) {
    struct view_symbols *symbols = calloc(1, sizeof(*symbols));
    if (!symbols)
        return -ENOMEM;
    int error = pthread_mutex_init(&symbols->lock, NULL);
    if (error) {
        free(symbols);
        return -error;
    }
    *ret_symbols = symbols;
    return 0;
}

void view_symbols_destroy(struct view_symbols *symbols) {
    if (!symbols)
        return;
    cache_drop(symbols);
    free(symbols->modules);
    free(symbols->texts);
    pthread_mutex_destroy(&symbols->lock);
    free(symbols);
}

/* One copy of each text. NULL when out of memory. */
static const char *intern(struct view_symbols *symbols, const char *text) {
    uint64_t hash = view_hash_bytes(0, text, strlen(text));
    size_t probe = 0;
    uint32_t number;
    while ((number = view_table_next(&symbols->text_table, hash, &probe)) != VIEW_TABLE_END) {
        if (strcmp(symbols->texts[number], text) == 0)
            return symbols->texts[number];
    }
    const char **texts = view_array_grow(symbols->texts, symbols->text_count,
                                         &symbols->text_capacity, sizeof(*texts));
    if (!texts)
        return NULL;
    symbols->texts = texts;
    const char *copy = view_arena_text(&symbols->arena, text, strlen(text));
    if (!copy || view_table_add(&symbols->text_table, hash, (uint32_t)symbols->text_count) != 0)
        return NULL;
    texts[symbols->text_count++] = copy;
    return copy;
}

/* ----------------------------------------------------------------------------- the modules */

static struct symbol_module *module_new(struct view_symbols *symbols,
                                        const struct view_module_key *key, const char *path) {
    struct symbol_module **modules =
        view_array_grow(symbols->modules, symbols->module_count, &symbols->module_capacity,
                        sizeof(struct symbol_module *));
    if (!modules)
        return NULL;
    symbols->modules = modules;
    struct symbol_module *module = calloc(1, sizeof(*module));
    if (!module)
        return NULL;
    module->key = *key;
    module->path = intern(symbols, path);
    if (!module->path) {
        free(module);
        return NULL;
    }
    modules[symbols->module_count++] = module;
    return module;
}

static void module_load(struct view_symbols *symbols, struct symbol_module *module) {
    struct view_symbol_sink sink = {symbols, module};
    if (symbols->store.load && module->key.name[0])
        symbols->store.load(symbols->store.context, &module->key, &sink);
}

static struct symbol_module *session_module(struct view_session *session, size_t number) {
    if (session->modules[number])
        return session->modules[number];
    struct view_symbols *symbols = session->symbols;
    const char *path = session->snapshot->modules[number].path;
    struct view_module_key key;
    struct symbol_module *module = NULL;
    symbol_key_of(session->snapshot, number, &key);
    for (size_t i = 0; i < symbols->module_count && !module; i++) {
        if (symbol_key_same(&symbols->modules[i]->key, symbols->modules[i]->path, &key, path))
            module = symbols->modules[i];
    }
    if (!module) {
        module = module_new(symbols, &key, path);
        if (module)
            module_load(symbols, module);
    }
    session->modules[number] = module;
    return module;
}

/* --------------------------------------------------------------------------- the addresses */

/* The whole path of the frame's file; "" where unknown. */
static const char *intern_file(struct view_symbols *symbols, const struct raw_frame *raw) {
    char path[PATH_MAX];
    if (!raw->file || raw->file[0] == '/' || !raw->folder)
        return intern(symbols, raw->file ? raw->file : "");
    int length = snprintf(path, sizeof(path), "%s/%s", raw->folder, raw->file);
    return intern(symbols, (size_t)length < sizeof(path) ? path : raw->file);
}

static bool fill_frame(struct view_symbols *symbols, const struct raw_frame *raw,
                       struct view_frame *frame) {
    const char *system_name = raw->linkage_name ? raw->linkage_name : raw->name;
    char *readable = system_name ? view_demangle(system_name) : NULL;
    frame->system_name = intern(symbols, system_name ? system_name : "");
    frame->name = readable ? intern(symbols, readable)
                           : intern(symbols, raw->name ? raw->name : frame->system_name);
    frame->file = intern_file(symbols, raw);
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
static int ask_files(const struct view_session *session, size_t number, struct known *known) {
    struct symbol_file *file = module_file(session, number);
    struct raw_symbol raw;
    known->flags = file ? 0 : KNOWN_MADE_UP;
    if (!file || !symbol_file_find(file, known->address, &raw))
        return 0;
    int error = fill_symbol(session->symbols, &raw, &known->symbol);
    if (!error)
        known->flags = KNOWN_UNSAVED;
    return error ? error : 1;
}

static struct known *module_find(const struct symbol_module *module, uint64_t address) {
    size_t probe = 0;
    uint32_t item;
    while ((item = view_table_next(&module->table, view_hash_word(0, address), &probe)) !=
           VIEW_TABLE_END) {
        if (module->known[item].address == address)
            return &module->known[item];
    }
    return NULL;
}

static int module_add(struct view_symbols *symbols, struct symbol_module *module,
                      const struct known *known) {
    struct known *all =
        view_array_grow(module->known, module->count, &module->capacity, sizeof(*all));
    if (!all)
        return -ENOMEM;
    module->known = all;
    int error =
        view_table_add(&module->table, view_hash_word(0, known->address), (uint32_t)module->count);
    if (error)
        return error;
    all[module->count++] = *known;
    symbols->known_count++;
    return 0;
}

static int copy_frame(struct view_symbols *symbols, const struct view_frame *frame,
                      struct view_frame *ret_frame) {
    *ret_frame = (struct view_frame){.name = intern(symbols, frame->name),
                                     .system_name = intern(symbols, frame->system_name),
                                     .file = intern(symbols, frame->file),
                                     .line = frame->line,
                                     .start_line = frame->start_line};
    return ret_frame->name && ret_frame->system_name && ret_frame->file ? 0 : -ENOMEM;
}

int view_symbol_sink_add(struct view_symbol_sink *sink, uint64_t address,
                         const struct view_symbol *symbol) {
    struct view_symbols *symbols = sink->symbols;
    struct known known = {.address = address, .symbol = *symbol};
    if (module_find(sink->module, address))
        return 0;
    struct view_frame *frames =
        view_arena_alloc(&symbols->arena, symbol->frame_count, sizeof(*frames));
    if (!frames)
        return -ENOMEM;
    for (uint32_t i = 0; i < symbol->frame_count; i++) {
        if (copy_frame(symbols, &symbol->frames[i], &frames[i]) != 0)
            return -ENOMEM;
    }
    known.symbol.frames = frames;
    return module_add(symbols, sink->module, &known);
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
    struct known known = {.address = address};
    int told = ask_files(session, number, &known);
    if (told == 0 && cache_bytes(symbols) > CACHE_MAX_BYTES)
        return give_nameless(symbols, module, ret_symbol);
    if (told == 0)
        told = make_up(symbols, module, &address, &known.symbol);
    int error = told < 0 ? told : module_add(symbols, module, &known);
    *ret_symbol = known.symbol;
    return error;
}

/* One with a made-up name, which a file may better now. */
static int resolve_again(const struct view_session *session, size_t number, struct known *known) {
    struct known better = {.address = known->address};
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
    struct known *known = module_find(cached, address - bias);
    struct view_symbol symbol;
    int error = 0;
    if (known && known->flags & KNOWN_MADE_UP && !cached->missing)
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

/* ------------------------------------------------------------------------------- the store */

void view_symbols_set_store(struct view_symbols *symbols, const struct view_symbols_store *store) {
    pthread_mutex_lock(&symbols->lock);
    symbols->store = *store;
    pthread_mutex_unlock(&symbols->lock);
}

/* Without memory for it the names are only not kept. */
static void module_save(const struct view_symbols *symbols, struct symbol_module *module) {
    size_t count = 0;
    struct view_known_symbol *unsaved = malloc((module->count + 1) * sizeof(*unsaved));
    for (size_t i = 0; i < module->count; i++) {
        struct known *known = &module->known[i];
        if (unsaved && known->flags & KNOWN_UNSAVED)
            unsaved[count++] = (struct view_known_symbol){known->address, known->symbol};
        known->flags &= ~(unsigned)KNOWN_UNSAVED;
    }
    if (count > 0)
        symbols->store.save(symbols->store.context, &module->key, unsaved, count);
    free(unsaved);
}

/* ----------------------------------------------------------------------------- the session */

int view_session_begin(struct view_session *session, struct view_symbols *symbols,
                       const struct mal_snapshot *snapshot) {
    struct symbol_module **modules =
        calloc(snapshot->module_count + 1, sizeof(struct symbol_module *));
    if (!modules)
        return -ENOMEM;
    pthread_mutex_lock(&symbols->lock);
    if (cache_bytes(symbols) > CACHE_MAX_BYTES)
        cache_drop(symbols);
    for (size_t i = 0; i < symbols->module_count; i++)
        symbols->modules[i]->used = symbols->modules[i]->missing = false;
    *session = (struct view_session){symbols, snapshot, modules};
    return 0;
}

static void module_rest(struct symbol_module *module) {
    symbol_file_close(module->file);
    module->file = NULL;
}

void view_session_end(struct view_session *session) {
    struct view_symbols *symbols = session->symbols;
    for (size_t i = 0; i < symbols->module_count; i++) {
        struct symbol_module *module = symbols->modules[i];
        if (module->used && symbols->store.save && module->key.name[0])
            module_save(symbols, module);
        if (!module->used)
            module_rest(module);
    }
    pthread_mutex_unlock(&symbols->lock);
    free(session->modules);
    *session = (struct view_session){0};
}

/* What debug information took comes in small pieces, which malloc would keep. */
void view_symbols_rest(struct view_symbols *symbols) {
    bool closed = false;
    pthread_mutex_lock(&symbols->lock);
    for (size_t i = 0; i < symbols->module_count; i++) {
        closed |= symbols->modules[i]->file != NULL;
        module_rest(symbols->modules[i]);
    }
    pthread_mutex_unlock(&symbols->lock);
    if (closed)
        malloc_trim(0);
}

size_t view_symbols_bytes(struct view_symbols *symbols) {
    pthread_mutex_lock(&symbols->lock);
    size_t bytes = cache_bytes(symbols);
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
