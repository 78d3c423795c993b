/* SPDX-License-Identifier: Apache-2.0
 *
 * What the cache of symbols holds; for symbols.c, which asks and fills it. Everything here wants
 * the lock of the cache held, but for creating and destroying it.
 */
#ifndef MAL_VIEW_SYMBOL_CACHE_H
#define MAL_VIEW_SYMBOL_CACHE_H

#include "view/symbol_file.h"
#include "view/symbols.h"
#include "view/table.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SYMBOL_CACHE_MAX_BYTES (16u << 20)

enum symbol_known_flags {
    SYMBOL_UNSAVED = 1u << 0, /* told by a file in this session */
    SYMBOL_MADE_UP = 1u << 1, /* there was no file to ask */
};

/* What one address resolved to. */
struct symbol_known {
    uint64_t address;
    struct view_symbol symbol; /* `entry` relative to the load bias */
    unsigned flags;            /* enum symbol_known_flags */
};

struct symbol_module {
    struct view_module_key key;
    const char *path; /* as first seen */

    struct view_table table; /* of `known` by address */
    struct symbol_known *known;
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

/* What the cache takes, without the open files. */
size_t symbol_cache_bytes(const struct view_symbols *symbols);

/* Forgets everything. Nothing that was given out may be in use. */
void symbol_cache_drop(struct view_symbols *symbols);

/* The one copy of a text. NULL when out of memory. */
const char *symbol_cache_text(struct view_symbols *symbols, const char *text);

/* The module with that key, a new one with what the store knows of it where there is none yet.
 * NULL when out of memory. */
struct symbol_module *symbol_module_of(struct view_symbols *symbols,
                                       const struct view_module_key *key, const char *path);

/* What is known of an address; NULL when nothing. Valid until the next symbol_module_add. */
struct symbol_known *symbol_module_find(const struct symbol_module *module, uint64_t address);

/* 0 or -ENOMEM. The address is new, the symbol's frames are the cache's. */
int symbol_module_add(struct view_symbols *symbols, struct symbol_module *module,
                      const struct symbol_known *known);

/* Gives the store what files told since the last time, if there is a store and the module has a
 * name to keep it by. */
void symbol_module_save(const struct view_symbols *symbols, struct symbol_module *module);

/* Closes the module's files. */
void symbol_module_rest(struct symbol_module *module);

#endif
