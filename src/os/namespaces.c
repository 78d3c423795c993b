/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects in link-map namespaces other than the program's own.
 *
 * libc tells debuggers of every namespace by a list that begins at _r_debug; from protocol version
 * 2 on it has more than one element. An entry's link maps say where an object's dynamic section is,
 * not where it begins: that _dl_find_object knows, which came to libc together with version 2. What
 * begins there is the ELF header, and with it the program headers.
 *
 * SYNCHRONIZATION: the list of namespaces only grows, each element appended by one release store
 * before the version says 2. Link maps are changed under the lock that the caller has.
 *
 * Must never read an object's memory that the loader does not say is mapped.
 */
#include "os/namespaces.h"

#include "os/vm.h"

#include <dlfcn.h>
#include <link.h>
#include <stddef.h>
#include <string.h>

#define VERSION_WITH_NAMESPACES 2

/* Only the loader's own link map, of the objects that it shows in each namespace, is found: so
 * every object is visited once. */
static const ElfW(Ehdr) * header_of(const struct link_map *map) {
    struct dl_find_object found;
    if (!map->l_ld || _dl_find_object(map->l_ld, &found) != 0 || found.dlfo_link_map != map)
        return NULL;
    const ElfW(Ehdr) *header = found.dlfo_map_start;
    size_t bytes = (size_t)((char *)found.dlfo_map_end - (char *)found.dlfo_map_start);
    if (bytes < sizeof *header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
        return NULL;
    /* Of the object's first page, which is mapped whatever follows it. */
    if (header->e_phoff + header->e_phnum * sizeof(ElfW(Phdr)) > mal_vm_page_bytes())
        return NULL;
    return header;
}

static void visit_map(const struct link_map *map,
                      void (*visit)(const struct dl_phdr_info *object, void *context),
                      void *context) {
    const ElfW(Ehdr) *header = header_of(map);
    if (!header)
        return;
    struct dl_phdr_info object = {
        .dlpi_addr = map->l_addr,
        .dlpi_name = map->l_name,
        .dlpi_phdr = (const void *)((const char *)header + header->e_phoff),
        .dlpi_phnum = header->e_phnum,
    };
    visit(&object, context);
}

void mal_namespaces_each_object(void (*visit)(const struct dl_phdr_info *object, void *context),
                                void *context) {
    if (__atomic_load_n(&_r_debug.r_version, __ATOMIC_ACQUIRE) < VERSION_WITH_NAMESPACES)
        return;
    const struct r_debug_extended *space = (const struct r_debug_extended *)(const void *)&_r_debug;
    while ((space = __atomic_load_n(&space->r_next, __ATOMIC_ACQUIRE)))
        for (const struct link_map *map = space->base.r_map; map; map = map->l_next)
            visit_map(map, visit, context);
}
