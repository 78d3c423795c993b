/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds and opens the files that describe one module.
 *
 * The object is looked for below the process's root where that is known, at the module's path, and
 * then through /proc: inside the root of the process, as its program, and as what it has mapped,
 * which reaches containers and deleted files. A separate debug file is looked for by build-id and
 * by .gnu_debuglink, below the same roots. A build-id in the box must be found again in every file
 * used; only a box without one is satisfied by a path, and then the file must have none either, and
 * lie below the process's root where one is known. Names of another build would be worse than none.
 *
 * Files are read, never mapped: a binary overwritten in place while we look must give an error
 * and not a SIGBUS in the program whose plugin this may be.
 */
#include "view/symbol_file.h"

#include "base/attr.h"

#include <elfutils/libdwelf.h>
#include <errno.h>
#include <gelf.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define DEBUG_ROOT "/usr/lib/debug"
#define PROC_FOLDER_BYTES 24

/* One ELF file and the debug information in it. */
struct object {
    int fd;
    Elf *elf;
    Dwarf *dwarf; /* NULL: none inside */
};

struct symbol_file {
    struct object main, debug; /* elf is NULL where there is none */
    struct symbol_table table;
    struct symbol_dwarf *dwarf; /* of whichever object has it; NULL */
};

static void object_close(struct object *object) {
    if (object->dwarf)
        dwarf_end(object->dwarf);
    if (object->elf)
        elf_end(object->elf);
    if (object->fd >= 0)
        close(object->fd);
    *object = (struct object){.fd = -1};
}

static int object_open(const char *root, const char *path, struct object *ret_object) {
    struct object object = {.fd = symbol_path_open(root, path)};
    if (object.fd < 0)
        return object.fd;
    object.elf = elf_begin(object.fd, ELF_C_READ, NULL);
    if (!object.elf || elf_kind(object.elf) != ELF_K_ELF) {
        object_close(&object);
        return -ENOENT;
    }
    *ret_object = object;
    return 0;
}

static bool build_id_fits(const struct object *object, const struct mal_snapshot_module *module) {
    const void *id;
    ssize_t bytes = dwelf_elf_gnu_build_id(object->elf, &id);
    if (bytes <= 0)
        return module->build_id_bytes == 0;
    return (size_t)bytes == module->build_id_bytes &&
           memcmp(id, module->build_id, (size_t)bytes) == 0;
}

static int object_open_fitting(const char *root, const char *path,
                               const struct mal_snapshot_module *module,
                               struct object *ret_object) {
    struct object object;
    int error = object_open(root, path, &object);
    if (error)
        return error;
    if (!build_id_fits(&object, module)) {
        object_close(&object);
        return -ENOENT;
    }
    *ret_object = object;
    return 0;
}

/* ------------------------------------------------------------------------- where to look */

/* Below the process's root, then below ours, where only a build-id tells that it is the same. */
static int open_rooted(const struct symbol_process *process, const char *path,
                       const struct mal_snapshot_module *module, struct object *ret_object) {
    int error = object_open_fitting(process->root, path, module, ret_object);
    if (error && process->root[0] && module->build_id_bytes > 0)
        error = object_open_fitting("", path, module, ret_object);
    return error;
}

/* The folder of the process in /proc; "" where it is not known. */
static void proc_folder(const struct symbol_process *process, char ret_path[PROC_FOLDER_BYTES]) {
    unsigned pid = process->pid;
    int end = 0;
    if (sscanf(process->root, "/proc/%u/root%n", &pid, &end) != 1 || process->root[end] != '\0')
        pid = process->pid;
    ret_path[0] = '\0';
    if (pid != 0)
        snprintf(ret_path, PROC_FOLDER_BYTES, "/proc/%u", pid);
}

/* What is reached through a process that has it open, even when it has no name any more. */
static int open_through_process(const struct mal_snapshot_module *module,
                                const struct symbol_process *process, bool is_program,
                                struct object *ret_object) {
    char folder[PROC_FOLDER_BYTES], path[PATH_MAX];
    proc_folder(process, folder);
    if (!folder[0])
        return -ENOENT;
    int length = snprintf(path, sizeof(path), "%s/root%s", folder, module->path);
    int error = -ENOENT;
    if ((size_t)length < sizeof(path))
        error = object_open_fitting("", path, module, ret_object);
    if (error && is_program) {
        snprintf(path, sizeof(path), "%s/exe", folder);
        error = object_open_fitting("", path, module, ret_object);
    }
    if (error) {
        snprintf(path, sizeof(path), "%s/map_files/%llx-%llx", folder,
                 (unsigned long long)module->start, (unsigned long long)module->limit);
        error = object_open_fitting("", path, module, ret_object);
    }
    return error;
}

static int open_main(const struct mal_snapshot_module *module, const struct symbol_process *process,
                     bool is_program, struct object *ret_object) {
    if (module->path[0] != '/')
        return -ENOENT;
    int error = open_rooted(process, module->path, module, ret_object);
    if (error && module->build_id_bytes > 0)
        error = open_through_process(module, process, is_program, ret_object);
    return error;
}

static int open_debug_by_build_id(const struct mal_snapshot_module *module,
                                  const struct symbol_process *process, struct object *ret_object) {
    char path[sizeof(DEBUG_ROOT) + 32 + 2 * MAL_BOX_BUILD_ID_MAX];
    if (module->build_id_bytes < 2)
        return -ENOENT;
    int at = snprintf(path, sizeof(path), DEBUG_ROOT "/.build-id/%02x/", module->build_id[0]);
    for (size_t i = 1; i < module->build_id_bytes; i++)
        at += snprintf(path + at, sizeof(path) - (size_t)at, "%02x", module->build_id[i]);
    snprintf(path + at, sizeof(path) - (size_t)at, ".debug");
    return open_rooted(process, path, module, ret_object);
}

/* The checksum that .gnu_debuglink gives of the file it names. */
static bool checksum_fits(int fd, uint32_t expected) {
    unsigned char piece[65536];
    uLong sum = crc32(0, NULL, 0);
    off_t at = 0;
    ssize_t got;
    while ((got = pread(fd, piece, sizeof(piece), at)) > 0) {
        sum = crc32(sum, piece, (uInt)got);
        at += got;
    }
    return got == 0 && (uint32_t)sum == expected;
}

static int open_linked(const struct symbol_process *process, const char *path,
                       const struct mal_snapshot_module *module, uint32_t checksum,
                       struct object *ret_object) {
    struct object object;
    int error = open_rooted(process, path, module, &object);
    if (error)
        return error;
    if (module->build_id_bytes == 0 && !checksum_fits(object.fd, checksum)) {
        object_close(&object);
        return -ENOENT;
    }
    *ret_object = object;
    return 0;
}

static int open_debug_by_link(const struct mal_snapshot_module *module,
                              const struct symbol_process *process, const struct object *main,
                              struct object *ret_object) {
    static const char *const forms[] = {"%.*s%s", "%.*s.debug/%s", DEBUG_ROOT "%.*s%s"};
    GElf_Word checksum = 0;
    const char *link = dwelf_elf_gnu_debuglink(main->elf, &checksum);
    if (!link || !link[0] || strchr(link, '/'))
        return -ENOENT;
    int folder_bytes = (int)(view_base_name(module->path) - module->path);
    for (size_t i = 0; i < MAL_COUNT_OF(forms); i++) {
        char path[PATH_MAX];
        int length = snprintf(path, sizeof(path), forms[i], folder_bytes, module->path, link);
        if ((size_t)length < sizeof(path) &&
            open_linked(process, path, module, checksum, ret_object) == 0)
            return 0;
    }
    return -ENOENT;
}

/* ----------------------------------------------------------------------------- the module */

/* Opens the debug information of the one object that has it. */
static int file_load_dwarf(struct symbol_file *file) {
    struct object *objects[] = {&file->debug, &file->main};
    for (size_t i = 0; i < MAL_COUNT_OF(objects); i++) {
        struct object *object = objects[i];
        if (!object->elf)
            continue;
        object->dwarf = dwarf_begin_elf(object->elf, DWARF_C_READ, NULL);
        if (object->dwarf)
            return symbol_dwarf_new(object->dwarf, &file->dwarf);
    }
    return 0;
}

static int file_load_tables(struct symbol_file *file) {
    int error = 0;
    if (file->main.elf)
        error = symbol_table_add(&file->table, file->main.elf);
    if (!error && file->debug.elf)
        error = symbol_table_add(&file->table, file->debug.elf);
    symbol_table_sort(&file->table);
    return error;
}

int symbol_file_open(const struct mal_snapshot_module *module, const struct symbol_process *process,
                     bool is_program, struct symbol_file **ret_file) {
    elf_version(EV_CURRENT);
    struct symbol_file *file = calloc(1, sizeof(*file));
    if (!file)
        return -ENOMEM;
    file->main.fd = file->debug.fd = -1;
    bool found = open_main(module, process, is_program, &file->main) == 0;
    bool split = open_debug_by_build_id(module, process, &file->debug) == 0;
    if (found && !split)
        split = open_debug_by_link(module, process, &file->main, &file->debug) == 0;
    int error = found || split ? file_load_tables(file) : -ENOENT;
    if (!error)
        error = file_load_dwarf(file);
    if (error) {
        symbol_file_close(file);
        return error;
    }
    *ret_file = file;
    return 0;
}

void symbol_file_close(struct symbol_file *file) {
    if (!file)
        return;
    symbol_dwarf_free(file->dwarf);
    symbol_table_free(&file->table);
    object_close(&file->debug);
    object_close(&file->main);
    free(file);
}

static bool is_mangled(const char *name) {
    return strncmp(name, "_Z", 2) == 0 || strncmp(name, "_R", 2) == 0;
}

bool symbol_file_find(struct symbol_file *file, uint64_t address, struct raw_symbol *ret_symbol) {
    *ret_symbol = (struct raw_symbol){0};
    const struct symbol_entry *entry = symbol_table_find(&file->table, address);
    if (file->dwarf && symbol_dwarf_find(file->dwarf, address, ret_symbol)) {
        /* The linker knows a method by its whole name where DWARF gives the last part only. */
        struct raw_frame *owner = &ret_symbol->frames[ret_symbol->count - 1];
        if (!owner->linkage_name && entry && (is_mangled(entry->name) || !owner->name))
            owner->linkage_name = entry->name;
        return true;
    }
    if (!entry)
        return false;
    ret_symbol->frames[0].name = entry->name;
    ret_symbol->count = 1;
    ret_symbol->entry = entry->start;
    ret_symbol->source = VIEW_SYMBOL_TABLE;
    return true;
}
