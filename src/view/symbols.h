/* SPDX-License-Identifier: Apache-2.0
 *
 * From addresses to names, for the views. A session holds the lock of the cache while one
 * document is made; what it gives out is valid until the session ends.
 *
 *   symbols.c        the session: asks the cache, then the files
 *   symbol_cache.c   modules by build-id, addresses by module
 *   symbol_key.c     what makes two modules the same one
 *   symbol_file.c    which files describe a module; open ELF and debug files
 *   symbol_table.c   .symtab and .dynsym
 *   symbol_dwarf.c   functions, lines and inlined calls
 *   demangle.c       C++ and Rust names
 */
#ifndef MAL_VIEW_SYMBOLS_H
#define MAL_VIEW_SYMBOLS_H

#include "box/reader.h"
#include "view/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIEW_FRAMES_MAX 64

/* One function at one address. Texts are never NULL; "" where unknown. */
struct view_frame {
    const char *name;        /* for people */
    const char *system_name; /* for the linker */
    const char *file;
    int64_t line;       /* 0 unknown */
    int64_t start_line; /* of the function; 0 unknown */
};

enum view_symbol_source {
    VIEW_SYMBOL_OFFSET, /* nothing known: the name is "module+0xoffset" */
    VIEW_SYMBOL_TABLE,  /* a symbol table */
    VIEW_SYMBOL_DWARF,  /* debug information, inlined calls included */
};

struct view_symbol {
    const struct view_frame *frames; /* innermost first; the last one owns the code */
    uint32_t frame_count;            /* at least 1 */
    enum view_symbol_source source;
    uint64_t entry; /* run-time address of the function that owns the code; 0 unknown */
};

/* ---- names that outlive the files they came from */

#define VIEW_MODULE_NAME_BYTES 72

/* Which module names belong to, for as long as there are files. */
struct view_module_key {
    uint32_t owner_uid; /* whose process has it: what one user's files say is for that user only */
    char name[VIEW_MODULE_NAME_BYTES]; /* the build-id as hexadecimal digits, else "file-" and a
                                          hash of path, length and time of change */
};

/* Takes what a store knows. */
struct view_symbol_sink;
/* `address` and `entry` are those of the file. Copies everything; an address known already is left
 * alone. Returns 0 or -ENOMEM. */
int view_symbol_sink_add(struct view_symbol_sink *sink, uint64_t address,
                         const struct view_symbol *symbol);

struct view_known_symbol {
    uint64_t address;
    struct view_symbol symbol; /* `entry` is that of the file */
};

/* Called under the lock of the cache. `load` is called once when a module is met that the cache
 * does not hold, before any file is opened for it; its failure is as good as knowing nothing.
 * `save` is called at the end of a session with what files told in it, never with names made up for
 * addresses without a symbol. Either may be NULL. */
struct view_symbols_store {
    int (*load)(void *context, const struct view_module_key *key, struct view_symbol_sink *sink);
    void (*save)(void *context, const struct view_module_key *key,
                 const struct view_known_symbol *symbols, size_t count);
    void *context;
};
/* Before the first session; everything in the store must outlive `symbols`. */
void view_symbols_set_store(struct view_symbols *symbols, const struct view_symbols_store *store);

/* Closes the files that the last sessions left open. True when there were any: what they took is
 * free then, in small pieces, and a program of ours may want to trim. For whoever is about to be
 * idle. */
bool view_symbols_rest(struct view_symbols *symbols);

/* What the cache holds in memory, without the open files. */
size_t view_symbols_bytes(struct view_symbols *symbols);

struct symbol_module;

struct view_session {
    struct view_symbols *symbols;
    const struct mal_snapshot *snapshot;
    struct symbol_module **modules; /* by the snapshot's numbering; NULL until asked for */
};

/* Takes the lock of `symbols` until the session ends. Returns 0 or -ENOMEM. */
int view_session_begin(struct view_session *session, struct view_symbols *symbols,
                       const struct mal_snapshot *snapshot);
void view_session_end(struct view_session *session);

/* The symbol at the run-time address `address` inside modules[module] of the snapshot. */
int view_session_symbol(struct view_session *session, size_t module, uint64_t address,
                        struct view_symbol *ret_symbol);

#define VIEW_NO_MODULE SIZE_MAX
/* The module whose range holds `pc`, a loaded one before one that was unloaded. */
size_t view_module_of(const struct mal_snapshot *snapshot, uint64_t pc);

/* The part of a path behind the last slash. */
const char *view_base_name(const char *path);

#endif
