/* SPDX-License-Identifier: Apache-2.0
 *
 * One module's files while they are open: the object itself and, where there is one, its separate
 * debug file. Addresses are those of the ELF file (run-time address minus load bias). Texts point
 * into the open files. Used under the lock of the symbol cache.
 */
#ifndef MAL_VIEW_SYMBOL_FILE_H
#define MAL_VIEW_SYMBOL_FILE_H

#include "box/reader.h"
#include "view/symbols.h"

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* ---- symbol tables */

struct symbol_entry {
    uint64_t start, limit;
    uint32_t rank; /* among equals the highest is taken */
    const char *name;
};
struct symbol_table {
    struct symbol_entry *entries; /* by start, then rank */
    size_t count, capacity;
};

/* Adds the functions of every symbol table of `elf`. Returns 0 or -ENOMEM. */
int symbol_table_add(struct symbol_table *table, Elf *elf);
void symbol_table_sort(struct symbol_table *table);
/* The function that covers `address`; NULL when it lies outside of all of them. */
const struct symbol_entry *symbol_table_find(const struct symbol_table *table, uint64_t address);
void symbol_table_free(struct symbol_table *table);

/* ---- debug information */

/* What the files say about one address, before demangling. Texts may be NULL. */
struct raw_frame {
    const char *name, *linkage_name;
    const char *file, *folder; /* `file` may be relative to `folder` */
    int64_t line, start_line;
};
struct raw_symbol {
    struct raw_frame frames[VIEW_FRAMES_MAX]; /* innermost first */
    uint32_t count;
    enum view_symbol_source source;
    uint64_t entry;
};

struct symbol_dwarf;
/* Takes over nothing: `dwarf` must outlive the result. Returns 0 or -ENOMEM. */
int symbol_dwarf_new(Dwarf *dwarf, struct symbol_dwarf **ret_dwarf);
void symbol_dwarf_free(struct symbol_dwarf *dwarf); /* accepts NULL */
/* Returns whether a function covers the address; fills in frames and entry then. */
bool symbol_dwarf_find(struct symbol_dwarf *dwarf, uint64_t address, struct raw_symbol *symbol);

/* ---- the files of a module */

/* The process that has a module mapped. */
struct symbol_process {
    const char *root; /* where its files are: "" or the root of its mount namespace */
    uint32_t pid;     /* 0 unknown */
};

struct symbol_file;
/* `is_program` says that the module is what the process executes. -ENOENT: no file that can be
 * trusted to be the module's own. */
int symbol_file_open(const struct mal_snapshot_module *module, const struct symbol_process *process,
                     bool is_program, struct symbol_file **ret_file);
void symbol_file_close(struct symbol_file *file); /* accepts NULL */
/* Fills in whatever is known; false when nothing is. */
bool symbol_file_find(struct symbol_file *file, uint64_t address, struct raw_symbol *ret_symbol);

/* ---- opening what others name (symbol_path.c) */

/* A plain file for reading: a descriptor or -errno. `path` is absolute; with a root other than ""
 * it is one below that, and no link leads out. Never opens a device or waits for a FIFO. */
int symbol_path_open(const char *root, const char *path);
int symbol_path_stat(const char *root, const char *path, struct stat *ret_status);

/* ---- keys (symbol_key.c) */

/* The name is "" for a module without a build-id whose file is not there. */
void symbol_key_of(const struct mal_snapshot *snapshot, size_t module,
                   struct view_module_key *ret_key);
bool symbol_key_same(const struct view_module_key *a, const char *a_path,
                     const struct view_module_key *b, const char *b_path);

/* ---- names */

/* The readable form of a linker's name, to be freed; NULL when it is none that needs it. */
char *view_demangle(const char *name);

#endif
