/* SPDX-License-Identifier: Apache-2.0
 *
 * From addresses to names, for the views. A session holds the lock of the cache while one
 * document is made; what it gives out is valid until the session ends.
 *
 *   symbols.c        the cache: modules by build-id, addresses by module, the session
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
