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
 * the new one added. It is another if its file, its build-id or its bias is; so every new stack is
 * asked for all its objects, not only for unknown addresses.
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

static uint64_t identity[MAL_BOX_MODULES_MAX]; /* of each entry's object; PROFILE lock */

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

/* What tells it from others that were, or will be, at the same place. */
static uint64_t identity_of(const struct object *object) {
    struct mal_box_module module = {0};
    uint64_t hash = mal_mix(object->bias);
    find_build_id(&module, object);
    for (uint32_t i = 0; i < module.build_id_bytes; i++)
        hash = mal_mix(hash ^ module.build_id[i]);
    for (const char *c = object->path; *c; c++)
        hash = mal_mix(hash ^ (unsigned char)*c);
    return hash;
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
    uint32_t number = mal_writer_module_count();
    if (mal_writer_add_module(&module))
        identity[number] = identity_of(object);
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

/* The newest entry around the address, or their count. */
static uint32_t entry_of(uintptr_t pc) {
    uint32_t count = mal_writer_module_count();
    for (uint32_t i = count; i-- > 0;)
        if (pc >= mal_writer_module(i)->start && pc < mal_writer_module(i)->limit)
            return i;
    return count;
}

static int is_known(uint32_t entry, const struct object *object) {
    return entry < mal_writer_module_count() &&
           !mal_load_relaxed(&mal_writer_module(entry)->unloaded) &&
           identity[entry] == identity_of(object);
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

/* Returns the address's entry, or what is none. */
static uint32_t note_one(uintptr_t pc) {
    struct dl_find_object found;
    struct object object;
    uint32_t entry = entry_of(pc);
    if (_dl_find_object((void *)pc, &found) != 0 || !read_object(&found, &object) ||
        is_known(entry, &object))
        return entry;
    add_object(&object);
    return entry_of(pc);
}

/* Frames of one object stand together. */
void mal_modules_note(const uintptr_t *pcs, size_t count) {
    uint32_t last = UINT32_MAX;
    for (size_t i = 0; i < count; i++)
        if (last >= mal_writer_module_count() || entry_of(pcs[i]) != last)
            last = note_one(pcs[i]);
}

static const ElfW(Phdr) * find_header(const struct object *object, uint32_t type) {
    for (size_t i = 0; i < object->header_count; i++)
        if (object->headers[i].p_type == type)
            return &object->headers[i];
    return NULL;
}

/* The ELF header in front of the program headers, where that is what lies there. */
static const ElfW(Ehdr) * elf_header(const struct object *object) {
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)(const void *)object->headers - 1;
    bool is_on_page = (uintptr_t)object->headers % mal_vm_page_bytes() >= sizeof *header;
    bool is_one = is_on_page && memcmp(header->e_ident, ELFMAG, SELFMAG) == 0;
    return is_one && header->e_phoff == sizeof *header ? header : NULL;
}

/* Where the headers are minus where they say they are. Static programs that may lie anywhere do not
 * say it; their first segment begins with the ELF header. */
static bool find_bias(struct object *program) {
    const ElfW(Phdr) *self = find_header(program, PT_PHDR);
    const ElfW(Phdr) *first = find_header(program, PT_LOAD);
    const ElfW(Ehdr) *header = self ? NULL : elf_header(program);
    if (self)
        program->bias = (uintptr_t)program->headers - self->p_vaddr;
    else if (header && first && first->p_offset == 0)
        program->bias = (uintptr_t)header - first->p_vaddr;
    return self || header;
}

void mal_modules_note_program(void) {
    const ElfW(Phdr) *headers = (const void *)getauxval(AT_PHDR);
    size_t count = getauxval(AT_PHNUM);
    struct object program = {0, headers, headers ? count : 0, ""};
    if (headers && find_bias(&program))
        add_object(&program);
}
