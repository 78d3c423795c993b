/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions out of ELF symbol tables, sorted by address. Only symbols with a size count: an
 * address behind the end of one is nobody's, since naming the nearest neighbour blames the wrong
 * code whenever a binary is stripped down to its exports.
 *
 * Names at one address compete by binding (global, weak, local), so that the name other people
 * call a function by wins over aliases. The first of a nest of overlapping symbols may lie some
 * entries back, hence the short walk.
 */
#include "view/symbol_file.h"

#include "view/table.h"

#include <errno.h>
#include <gelf.h>
#include <stdlib.h>

#define OVERLAP_MAX 32

static bool is_function(const GElf_Sym *symbol) {
    int type = GELF_ST_TYPE(symbol->st_info);
    if (symbol->st_shndx == SHN_UNDEF || symbol->st_shndx == SHN_ABS || symbol->st_size == 0)
        return false;
    return type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE;
}

static uint32_t rank_of(const GElf_Sym *symbol) {
    uint32_t typed = GELF_ST_TYPE(symbol->st_info) == STT_NOTYPE ? 0 : 4;
    switch (GELF_ST_BIND(symbol->st_info)) {
    case STB_GLOBAL:
        return typed + 3;
    case STB_WEAK:
        return typed + 2;
    default:
        return typed + 1;
    }
}

static int add_entry(struct symbol_table *table, const GElf_Sym *symbol, const char *name) {
    uint64_t limit;
    if (!name || !name[0] || __builtin_add_overflow(symbol->st_value, symbol->st_size, &limit))
        return 0;
    struct symbol_entry *entries =
        view_array_grow(table->entries, table->count, &table->capacity, sizeof(*entries));
    if (!entries)
        return -ENOMEM;
    table->entries = entries;
    entries[table->count++] = (struct symbol_entry){symbol->st_value, limit, rank_of(symbol), name};
    return 0;
}

static int add_section(struct symbol_table *table, Elf *elf, Elf_Scn *section,
                       const GElf_Shdr *header) {
    Elf_Data *data = elf_getdata(section, NULL);
    if (!data || header->sh_entsize == 0)
        return 0;
    size_t count = data->d_size / header->sh_entsize;
    for (size_t i = 0; i < count && i < INT32_MAX; i++) {
        GElf_Sym symbol;
        if (!gelf_getsym(data, (int)i, &symbol) || !is_function(&symbol))
            continue;
        int error = add_entry(table, &symbol, elf_strptr(elf, header->sh_link, symbol.st_name));
        if (error)
            return error;
    }
    return 0;
}

int symbol_table_add(struct symbol_table *table, Elf *elf) {
    Elf_Scn *section = NULL;
    while ((section = elf_nextscn(elf, section)) != NULL) {
        GElf_Shdr header;
        if (!gelf_getshdr(section, &header))
            continue;
        if (header.sh_type != SHT_SYMTAB && header.sh_type != SHT_DYNSYM)
            continue;
        int error = add_section(table, elf, section, &header);
        if (error)
            return error;
    }
    return 0;
}

static int compare_entries(const void *left, const void *right) {
    const struct symbol_entry *a = left, *b = right;
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    return (a->rank > b->rank) - (a->rank < b->rank);
}

void symbol_table_sort(struct symbol_table *table) {
    if (table->count > 1)
        qsort(table->entries, table->count, sizeof(*table->entries), compare_entries);
}

const struct symbol_entry *symbol_table_find(const struct symbol_table *table, uint64_t address) {
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->entries[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    for (int step = 0; low > 0 && step < OVERLAP_MAX; step++) {
        const struct symbol_entry *entry = &table->entries[--low];
        if (address < entry->limit)
            return entry;
    }
    return NULL;
}

void symbol_table_free(struct symbol_table *table) {
    free(table->entries);
    *table = (struct symbol_table){0};
}
