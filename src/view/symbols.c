/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache of symbols.
 *
 * Holds: modules, found again by build-id or else by path, time and length of the file; for each
 * module what its addresses resolved to; and the open files of modules that the last sessions
 * still had questions about. A second view of the same addresses opens nothing at all.
 *
 * Life of a file: opened at the first address that the cache does not know, kept open as long as
 * every further session asks something new, closed at the end of the first one that does not.
 * So a quiet server, or a plugin inside somebody's program, holds no debug information.
 *
 * The cache is dropped as a whole when it has grown beyond CACHE_MAX_BYTES, at the begin of a
 * session, when nothing it gave out is in use.
 *
 * SYNCHRONIZATION: one mutex, held from the begin to the end of a session.
 */
#include "view/symbols.h"

#include "view/symbol_file.h"
#include "view/table.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CACHE_MAX_BYTES (64u << 20)

struct symbol_module {
    /* the key */
    uint8_t build_id[MAL_BOX_BUILD_ID_MAX];
    size_t build_id_bytes;
    const char *path; /* as first seen; part of the key where there is no build-id */
    uint64_t device, inode, modified_ns, file_bytes;

    /* the answers: symbols[i] is that of addresses[i], found by the table */
    struct view_table table;
    uint64_t *addresses;
    struct view_symbol *symbols; /* `entry` relative to the load bias */
    size_t count, address_capacity, symbol_capacity;

    struct symbol_file *file; /* NULL: not open */
    bool missing;             /* this session found no file */
    bool used;                /* this session asked the file */
};

struct view_symbols {
    pthread_mutex_t lock;
    struct symbol_module **modules;
    size_t module_count, module_capacity;
    struct view_arena arena;      /* texts and frames of all modules */
    struct view_table text_table; /* texts that exist already */
    const char **texts;
    size_t text_count, text_capacity;
};

/* ------------------------------------------------------------------------------ the cache */

static void module_free(struct symbol_module *module) {
    symbol_file_close(module->file);
    view_table_free(&module->table);
    free(module->addresses);
    free(module->symbols);
    free(module);
}

static void cache_drop(struct view_symbols *symbols) {
    for (size_t i = 0; i < symbols->module_count; i++)
        module_free(symbols->modules[i]);
    symbols->module_count = 0;
    symbols->text_count = 0;
    view_table_free(&symbols->text_table);
    view_arena_free(&symbols->arena);
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

static struct symbol_module key_of(const struct mal_snapshot_module *module) {
    struct symbol_module key = {.build_id_bytes = module->build_id_bytes, .path = module->path};
    memcpy(key.build_id, module->build_id, sizeof(key.build_id));
    struct stat status;
    if (key.build_id_bytes == 0 && module->path[0] == '/' && stat(module->path, &status) == 0) {
        key.device = status.st_dev;
        key.inode = status.st_ino;
        key.modified_ns =
            (uint64_t)status.st_mtim.tv_sec * 1000000000u + (uint64_t)status.st_mtim.tv_nsec;
        key.file_bytes = (uint64_t)status.st_size;
    }
    return key;
}

/* A module without a build-id is the same while its file is; the base name counts always, as it
 * is part of the names made up for addresses without a symbol. */
static bool same_key(const struct symbol_module *a, const struct symbol_module *b) {
    if (a->build_id_bytes != b->build_id_bytes ||
        strcmp(view_base_name(a->path), view_base_name(b->path)) != 0)
        return false;
    if (a->build_id_bytes > 0)
        return memcmp(a->build_id, b->build_id, a->build_id_bytes) == 0;
    return strcmp(a->path, b->path) == 0 && a->device == b->device && a->inode == b->inode &&
           a->modified_ns == b->modified_ns && a->file_bytes == b->file_bytes;
}

static struct symbol_module *module_new(struct view_symbols *symbols,
                                        const struct symbol_module *key) {
    struct symbol_module **modules =
        view_array_grow(symbols->modules, symbols->module_count, &symbols->module_capacity,
                        sizeof(struct symbol_module *));
    if (!modules)
        return NULL;
    symbols->modules = modules;
    struct symbol_module *module = malloc(sizeof(*module));
    if (!module)
        return NULL;
    *module = *key;
    module->path = intern(symbols, key->path);
    if (!module->path) {
        free(module);
        return NULL;
    }
    modules[symbols->module_count++] = module;
    return module;
}

static struct symbol_module *session_module(struct view_session *session, size_t number) {
    if (session->modules[number])
        return session->modules[number];
    struct view_symbols *symbols = session->symbols;
    struct symbol_module key = key_of(&session->snapshot->modules[number]);
    struct symbol_module *module = NULL;
    for (size_t i = 0; i < symbols->module_count && !module; i++) {
        if (same_key(symbols->modules[i], &key))
            module = symbols->modules[i];
    }
    if (!module)
        module = module_new(symbols, &key);
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
    if (!module->file && !module->missing)
        module->missing = symbol_file_open(&session->snapshot->modules[number],
                                           session->snapshot->pid, number == 0, &module->file) != 0;
    return module->file;
}

static int look_up(const struct view_session *session, size_t number, uint64_t address,
                   struct view_symbol *ret_symbol) {
    struct symbol_module *module = session->modules[number];
    struct symbol_file *file = module_file(session, number);
    struct raw_symbol raw;
    char text[512];
    module->used = true;
    if (!file || !symbol_file_find(file, address, &raw)) {
        raw = (struct raw_symbol){.count = 1, .source = VIEW_SYMBOL_OFFSET};
        snprintf(text, sizeof(text), "%s+0x%llx", view_base_name(module->path),
                 (unsigned long long)address);
        raw.frames[0].name = text;
    }
    return fill_symbol(session->symbols, &raw, ret_symbol);
}

static int module_add(struct symbol_module *module, uint64_t address,
                      const struct view_symbol *symbol) {
    uint64_t *addresses = view_array_grow(module->addresses, module->count,
                                          &module->address_capacity, sizeof(*addresses));
    if (addresses)
        module->addresses = addresses;
    struct view_symbol *symbols =
        view_array_grow(module->symbols, module->count, &module->symbol_capacity, sizeof(*symbols));
    if (symbols)
        module->symbols = symbols;
    if (!addresses || !symbols)
        return -ENOMEM;
    int error = view_table_add(&module->table, view_hash_word(0, address), (uint32_t)module->count);
    if (error)
        return error;
    addresses[module->count] = address;
    symbols[module->count++] = *symbol;
    return 0;
}

int view_session_symbol(struct view_session *session, size_t module, uint64_t address,
                        struct view_symbol *ret_symbol) {
    struct symbol_module *cached = session_module(session, module);
    if (!cached)
        return -ENOMEM;
    uint64_t bias = session->snapshot->modules[module].load_bias;
    uint64_t in_file = address - bias;
    struct view_symbol symbol;
    size_t probe = 0;
    uint32_t item;
    while ((item = view_table_next(&cached->table, view_hash_word(0, in_file), &probe)) !=
           VIEW_TABLE_END) {
        if (cached->addresses[item] == in_file)
            break;
    }
    if (item != VIEW_TABLE_END) {
        symbol = cached->symbols[item];
    } else {
        int error = look_up(session, module, in_file, &symbol);
        if (!error)
            error = module_add(cached, in_file, &symbol);
        if (error)
            return error;
    }
    if (symbol.entry != 0)
        symbol.entry += bias;
    *ret_symbol = symbol;
    return 0;
}

/* ----------------------------------------------------------------------------- the session */

int view_session_begin(struct view_session *session, struct view_symbols *symbols,
                       const struct mal_snapshot *snapshot) {
    struct symbol_module **modules =
        calloc(snapshot->module_count + 1, sizeof(struct symbol_module *));
    if (!modules)
        return -ENOMEM;
    pthread_mutex_lock(&symbols->lock);
    if (symbols->arena.total_bytes > CACHE_MAX_BYTES)
        cache_drop(symbols);
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
            continue;
        symbol_file_close(module->file);
        module->file = NULL;
    }
    pthread_mutex_unlock(&symbols->lock);
    free(session->modules);
    *session = (struct view_session){0};
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
