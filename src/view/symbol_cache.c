/* SPDX-License-Identifier: Apache-2.0
 *
 * What the cache of symbols holds.
 *
 * Modules, found again by their key (symbol_key.c); for each module what its addresses resolved to;
 * every text once. With a store, a module that is new to the cache begins with what the store knows
 * of it, and what its files tell goes into the store at the end of the session.
 *
 * The cache is dropped as a whole: texts and frames lie in one arena, and nothing is given out
 * beyond a session. When that is, and how far it may grow, symbols.c decides.
 *
 * SYNCHRONIZATION. The caller holds the lock of the cache, but to create and to destroy it.
 *
 * It must never open a file, which is the session's part, nor move a text or a frame.
 */
#include "view/symbol_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_PER_ITEM 4 /* of a table, at its emptiest */

struct view_symbol_sink {
    struct view_symbols *symbols;
    struct symbol_module *module;
};

void symbol_module_rest(struct symbol_module *module) {
    symbol_file_close(module->file);
    module->file = NULL;
}

static void module_free(struct symbol_module *module) {
    symbol_module_rest(module);
    view_table_free(&module->table);
    free(module->known);
    free(module);
}

void symbol_cache_drop(struct view_symbols *symbols) {
    for (size_t i = 0; i < symbols->module_count; i++)
        module_free(symbols->modules[i]);
    symbols->module_count = 0;
    symbols->text_count = 0;
    symbols->known_count = 0;
    view_table_free(&symbols->text_table);
    view_arena_free(&symbols->arena);
}

size_t symbol_cache_bytes(const struct view_symbols *symbols) {
    const size_t slots = SLOTS_PER_ITEM * sizeof(struct view_table_slot);
    return symbols->arena.total_bytes +
           symbols->known_count * (sizeof(struct symbol_known) + slots) +
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
    symbol_cache_drop(symbols);
    free(symbols->modules);
    free(symbols->texts);
    pthread_mutex_destroy(&symbols->lock);
    free(symbols);
}

const char *symbol_cache_text(struct view_symbols *symbols, const char *text) {
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
    module->path = symbol_cache_text(symbols, path);
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

struct symbol_module *symbol_module_of(struct view_symbols *symbols,
                                       const struct view_module_key *key, const char *path) {
    for (size_t i = 0; i < symbols->module_count; i++) {
        if (symbol_key_same(&symbols->modules[i]->key, symbols->modules[i]->path, key, path))
            return symbols->modules[i];
    }
    struct symbol_module *module = module_new(symbols, key, path);
    if (module)
        module_load(symbols, module);
    return module;
}

struct symbol_known *symbol_module_find(const struct symbol_module *module, uint64_t address) {
    size_t probe = 0;
    uint32_t item;
    while ((item = view_table_next(&module->table, view_hash_word(0, address), &probe)) !=
           VIEW_TABLE_END) {
        if (module->known[item].address == address)
            return &module->known[item];
    }
    return NULL;
}

int symbol_module_add(struct view_symbols *symbols, struct symbol_module *module,
                      const struct symbol_known *known) {
    struct symbol_known *all =
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
    *ret_frame = (struct view_frame){.name = symbol_cache_text(symbols, frame->name),
                                     .system_name = symbol_cache_text(symbols, frame->system_name),
                                     .file = symbol_cache_text(symbols, frame->file),
                                     .line = frame->line,
                                     .start_line = frame->start_line};
    return ret_frame->name && ret_frame->system_name && ret_frame->file ? 0 : -ENOMEM;
}

int view_symbol_sink_add(struct view_symbol_sink *sink, uint64_t address,
                         const struct view_symbol *symbol) {
    struct view_symbols *symbols = sink->symbols;
    struct symbol_known known = {.address = address, .symbol = *symbol};
    if (symbol_module_find(sink->module, address))
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
    return symbol_module_add(symbols, sink->module, &known);
}

/* Without memory for it the names are only not kept. */
void symbol_module_save(const struct view_symbols *symbols, struct symbol_module *module) {
    if (!symbols->store.save || !module->key.name[0])
        return;
    size_t count = 0;
    struct view_known_symbol *unsaved = malloc((module->count + 1) * sizeof(*unsaved));
    for (size_t i = 0; i < module->count; i++) {
        struct symbol_known *known = &module->known[i];
        if (unsaved && known->flags & SYMBOL_UNSAVED)
            unsaved[count++] = (struct view_known_symbol){known->address, known->symbol};
        known->flags &= ~(unsigned)SYMBOL_UNSAVED;
    }
    if (count > 0)
        symbols->store.save(symbols->store.context, &module->key, unsaved, count);
    free(unsaved);
}
