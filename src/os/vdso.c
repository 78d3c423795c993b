/* SPDX-License-Identifier: Apache-2.0
 *
 * The names that the kernel's own library, the vDSO, exports.
 *
 * It is an ELF image that lies in memory as its one loadable segment says, so what its dynamic
 * section points to is at the image's displacement. How many symbols there are is told by the older
 * hash table; newer kernels have the GNU one alone, whose last chain ends with the last symbol.
 *
 * SYNCHRONIZATION. None: nobody writes it.
 *
 * Must never call what allocates.
 */
#include "os/vdso.h"

#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

struct image {
    uintptr_t displacement;
    const ElfW(Dyn) * dynamic;
};

static struct image find_image(const ElfW(Ehdr) * header) {
    struct image image = {0, NULL};
    const ElfW(Phdr) *part = (const void *)((uintptr_t)header + header->e_phoff);
    for (unsigned i = 0; i < header->e_phnum; i++)
        if (part[i].p_type == PT_LOAD && part[i].p_offset == 0)
            image.displacement = (uintptr_t)header - part[i].p_vaddr;
    for (unsigned i = 0; i < header->e_phnum; i++)
        if (part[i].p_type == PT_DYNAMIC)
            image.dynamic = (const void *)(image.displacement + part[i].p_vaddr);
    return image;
}

static const void *table(struct image image, ElfW(Sxword) tag) {
    for (const ElfW(Dyn) *entry = image.dynamic; entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == tag)
            return (const void *)(image.displacement + entry->d_un.d_ptr);
    return NULL;
}

/* Header: buckets, first symbol that is hashed, words of the filter, its shift. Then the filter,
 * the first symbol of each bucket, and a word for each hashed symbol, odd for the last of a chain.
 */
static uint32_t count_by_gnu_hash(const uint32_t *hash) {
    const uint32_t *buckets = hash + 4 + hash[2] * (sizeof(ElfW(Addr)) / sizeof *hash);
    const uint32_t *chains = buckets + hash[0];
    uint32_t last = 0;
    for (uint32_t i = 0; i < hash[0]; i++)
        last = buckets[i] > last ? buckets[i] : last;
    if (last < hash[1])
        return 0;
    while (!(chains[last - hash[1]] & 1))
        last++;
    return last + 1;
}

static uint32_t symbol_count(struct image image) {
    const uint32_t *hash = table(image, DT_HASH);
    const uint32_t *gnu_hash = table(image, DT_GNU_HASH);
    if (hash)
        return hash[1];
    return gnu_hash ? count_by_gnu_hash(gnu_hash) : 0;
}

static void *find_in(struct image image, const char *name) {
    const ElfW(Sym) *symbols = table(image, DT_SYMTAB);
    const char *names = table(image, DT_STRTAB);
    uint32_t count = symbols && names ? symbol_count(image) : 0;
    for (uint32_t i = 0; i < count; i++)
        if (symbols[i].st_shndx != SHN_UNDEF && strcmp(names + symbols[i].st_name, name) == 0)
            return (void *)(image.displacement + symbols[i].st_value);
    return NULL;
}

void *mal_vdso_find(const char *name) {
    const ElfW(Ehdr) *header = (const void *)getauxval(AT_SYSINFO_EHDR);
    if (!header)
        return NULL;
    struct image image = find_image(header);
    return image.dynamic ? find_in(image, name) : NULL;
}
