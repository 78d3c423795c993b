/* SPDX-License-Identifier: Apache-2.0
 *
 * The module table.
 *
 * Readers need, for every address in a stack: which file it came from, where in that file, and the
 * file's build-id, even after the process is gone. The sampler asks here for every new stack.
 * Objects are recognised with _dl_find_object, which takes no lock, and described from their own
 * program headers in memory. That memory cannot vanish meanwhile: the object is on the calling
 * thread's stack. So dlopen needs no hook, and no file of /proc is opened.
 *
 * When another object now lies where a recorded one was, the recorded one is marked unloaded and
 * the new one added.
 *
 * SYNCHRONIZATION: the caller holds the PROFILE lock.
 */
#include "sample/modules.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "box/writer.h"
#include "os/vm.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

/* An object in memory, as its program headers describe it. */
struct object {
    uintptr_t bias;
    const ElfW(Phdr) * headers;
    size_t header_count;
    const char *path; /* "" for the main program */
};

static void copy_build_id(struct mal_box_module *module, const ElfW(Nhdr) * note) {
    const char *name = (const char *)(note + 1);
    const uint8_t *id = (const uint8_t *)name + mal_round_up(note->n_namesz, 4);
    if (note->n_type != NT_GNU_BUILD_ID || note->n_namesz != 4 || memcmp(name, "GNU", 4) != 0)
        return;
    module->build_id_bytes = (uint32_t)mal_min(note->n_descsz, MAL_BOX_BUILD_ID_MAX);
    memcpy(module->build_id, id, module->build_id_bytes);
}

static void scan_notes(struct mal_box_module *module, const char *notes, size_t bytes) {
    size_t at = 0;
    while (at + sizeof(ElfW(Nhdr)) <= bytes && module->build_id_bytes == 0) {
        const ElfW(Nhdr) *note = (const void *)(notes + at);
        copy_build_id(module, note);
        at += sizeof *note + mal_round_up(note->n_namesz, 4) + mal_round_up(note->n_descsz, 4);
    }
}

static void find_build_id(struct mal_box_module *module, const struct object *object) {
    for (size_t i = 0; i < object->header_count; i++)
        if (object->headers[i].p_type == PT_NOTE)
            scan_notes(module, (const char *)object->bias + object->headers[i].p_vaddr,
                       object->headers[i].p_memsz);
}

static void mark_overlapped(uint64_t start, uint64_t limit) {
    for (uint32_t i = 0; i < mal_writer_module_count(); i++) {
        struct mal_box_module *module = mal_writer_module(i);
        if (module->start < limit && start < module->limit)
            mal_store_relaxed(&module->unloaded, 1ull);
    }
}

static void add_segment(const struct object *object, const ElfW(Phdr) * segment,
                        struct mal_box_string path) {
    uint64_t page = mal_vm_page_bytes();
    struct mal_box_module module = {
        .start = object->bias + mal_round_down(segment->p_vaddr, page),
        .limit = object->bias + mal_round_up(segment->p_vaddr + segment->p_memsz, page),
        .file_offset = mal_round_down(segment->p_offset, page),
        .load_bias = object->bias,
        .path = path,
    };
    find_build_id(&module, object);
    mark_overlapped(module.start, module.limit);
    mal_writer_add_module(&module);
}

/* The main program's link map has no name: its path is the box's own `exe`. */
static struct mal_box_string path_of(const struct object *object) {
    if (object->path[0])
        return mal_writer_add_string(object->path, strlen(object->path));
    return ((const struct mal_box_header *)mal_writer_base())->exe;
}

static void add_object(const struct object *object) {
    struct mal_box_string path = path_of(object);
    for (size_t i = 0; i < object->header_count; i++) {
        const ElfW(Phdr) *header = &object->headers[i];
        if (header->p_type == PT_LOAD && (header->p_flags & PF_X))
            add_segment(object, header, path);
    }
}

static int is_known(uintptr_t pc) {
    for (uint32_t i = mal_writer_module_count(); i-- > 0;) {
        const struct mal_box_module *module = mal_writer_module(i);
        if (pc >= module->start && pc < module->limit)
            return !mal_load_relaxed(&module->unloaded);
    }
    return 0;
}

/* The ELF header is where the lowest segment was mapped; anything else there is no object. */
static int read_object(const struct dl_find_object *found, struct object *ret_object) {
    const ElfW(Ehdr) *header = found->dlfo_map_start;
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || !found->dlfo_link_map)
        return 0;
    *ret_object = (struct object){
        .bias = found->dlfo_link_map->l_addr,
        .headers = (const void *)((const char *)header + header->e_phoff),
        .header_count = header->e_phnum,
        .path = found->dlfo_link_map->l_name ? found->dlfo_link_map->l_name : "",
    };
    return 1;
}

static void note_one(uintptr_t pc) {
    struct dl_find_object found;
    struct object object;
    if (!is_known(pc) && _dl_find_object((void *)pc, &found) == 0 && read_object(&found, &object))
        add_object(&object);
}

void mal_modules_note(const uintptr_t *pcs, size_t count) {
    for (size_t i = 0; i < count; i++)
        note_one(pcs[i]);
}

/* The bias of the main program is where its headers are minus where they say they are. */
void mal_modules_note_program(void) {
    const ElfW(Phdr) *headers = (const void *)getauxval(AT_PHDR);
    size_t count = getauxval(AT_PHNUM);
    struct object program = {0, headers, headers ? count : 0, ""};
    for (size_t i = 0; i < program.header_count; i++)
        if (headers[i].p_type == PT_PHDR)
            program.bias = (uintptr_t)headers - headers[i].p_vaddr;
    add_object(&program);
}
