/* SPDX-License-Identifier: Apache-2.0
 *
 * vfork.
 *
 * A child of vfork runs in its parent's memory and on its parent's thread pointer, so it reads its
 * parent's struct rseq. The kernel gives no registration to a child that shares memory and is no
 * thread (rseq_fork): nobody restarts its sequences, and nobody renews the CPU number, which stays
 * what it was for the parent. Such a child would push and pop on a slab beside the threads of
 * another CPU. POSIX lets it call nothing but exec and _exit; real programs allocate there.
 *
 * So "no CPU" is stored into the area: every operation on a per-CPU slab then fails on the slab
 * that stays zero, and the slow path below needs none (os/percpu.h). The parent stores it before
 * the call, for a signal that the child gets before its first instruction; and the child once more,
 * since the kernel may have renewed the number in between. The parent sleeps in the kernel until
 * the child has ended or become another program. Then it takes the number back.
 *
 * TAKING IT BACK. The kernel writes both numbers of the area, cpu_id_start and cpu_id, whenever
 * the parent comes back to its own code on another CPU, and some kernels also whenever it was
 * preempted. Only cpu_id is hidden by the child. The parent copies cpu_id_start to it in a
 * restartable sequence: if the copy is made, the kernel wrote neither between the load and the
 * store. A sequence that is disturbed too often leaves "no CPU", which is slow and right. A parent
 * that had no number before, since it was never registered or is a vfork child itself, is left as
 * it is.
 *
 * The frame of vfork is gone when the parent returns: its child has returned through it and called
 * other functions. The return address is kept in a register, which each of the two has for itself.
 * Where there is a shadow stack the child leaves by a jump: that stack is shared as well, and a
 * return would pop the parent's entry.
 *
 * A child of clone(CLONE_VM | CLONE_VFORK) is the same, but for a stack of its own: front/clone.c
 * does for it in C what is assembler here.
 *
 * SYNCHRONIZATION: parent and child never run at once. The area is the thread's; the kernel writes
 * it between two instructions of a registered thread, which is what the sequence is for.
 *
 * Must never touch the stack above the return address, nor call anything in the child.
 */
#include "os/percpu.h"

#include "base/atomic.h"

#include <errno.h>
#include <stdint.h>
#include <sys/rseq.h>
#include <unistd.h>

pid_t mallard_vfork(void);

/* Where the parent's way leads: `result` as the kernel says it, the CPU number before the call. */
MAL_HIDDEN pid_t mal_vfork_in_parent(int result, int32_t cpu_before) __attribute__((used));

#if MAL_OVERRIDE
#define MAL_VFORK_NAMES                                                                            \
    ".globl vfork\n"                                                                               \
    ".set vfork, mallard_vfork\n"                                                                  \
    ".globl __vfork\n"                                                                             \
    ".set __vfork, mallard_vfork\n"
#else
#define MAL_VFORK_NAMES
#endif

#if defined(__x86_64__)

__asm__(".pushsection .text\n"
        ".balign 16\n"
        ".globl mallard_vfork\n"
        ".type mallard_vfork, @function\n"
        "mallard_vfork:\n"
        "	.cfi_startproc\n"
        "	endbr64\n"
        "	popq %rdi\n"
        "	.cfi_adjust_cfa_offset -8\n"
        "	.cfi_register %rip, %rdi\n"
        "	movl $-1, %esi\n"
        "	movq mal_percpu_area_offset(%rip), %rdx\n"
        "	testq %rdx, %rdx\n" /* 0: the heap is not up */
        "	jz 1f\n"
        "	movl %fs:4(%rdx), %esi\n"
        "	testl %esi, %esi\n"
        "	js 1f\n"
        "	movl $-1, %fs:4(%rdx)\n"
        "1:	movl $58, %eax\n" /* SYS_vfork */
        "	syscall\n"
        "	testl %eax, %eax\n"
        "	jz 2f\n"
        "	pushq %rdi\n"
        "	.cfi_remember_state\n"
        "	.cfi_adjust_cfa_offset 8\n"
        "	.cfi_rel_offset %rip, 0\n"
        "	movl %eax, %edi\n"
        "	jmp mal_vfork_in_parent\n"
        "	.cfi_restore_state\n"
        "2:	testl %esi, %esi\n"
        "	js 3f\n"
        "	movl $-1, %fs:4(%rdx)\n"
        "3:	notrack jmp *%rdi\n"
        "	.cfi_endproc\n"
        ".size mallard_vfork, . - mallard_vfork\n" MAL_VFORK_NAMES ".popsection\n");

static void take_number_back(void) {
    uint64_t slab, place;
    __asm__ goto volatile(MAL_RSEQ_BEGIN "movq %[area], %[slab]\n\t"
                                         "movl %%fs:(%[slab]), %k[place]\n\t"
                                         "movl %k[place], %%fs:4(%[slab])\n" MAL_RSEQ_END("gave_up")
                          : [slab] "=&r"(slab), [place] "=&r"(place)
                          : [area] "m"(mal_percpu_area_offset), [slabs] "m"(mal_percpu_slabs),
                            [shift] "i"(MAL_SLAB_SHIFT)
                          : "memory", "cc"
                          : gave_up);
gave_up:
    return;
}

#elif defined(__aarch64__)

__asm__(".pushsection .text\n"
        ".balign 16\n"
        ".globl mallard_vfork\n"
        ".type mallard_vfork, %function\n"
        "mallard_vfork:\n"
        "	.cfi_startproc\n"
        "	hint #34\n" /* bti c */
        "	mov w10, #-1\n"
        "	adrp x9, mal_percpu_area_offset\n"
        "	ldr x9, [x9, :lo12:mal_percpu_area_offset]\n"
        "	cbz x9, 1f\n" /* the heap is not up */
        "	mrs x11, tpidr_el0\n"
        "	add x9, x9, x11\n"
        "	ldr w10, [x9, #4]\n"
        "	tbnz w10, #31, 1f\n"
        "	mov w11, #-1\n"
        "	str w11, [x9, #4]\n"
        "1:	mov x0, #0x4111\n" /* CLONE_VM | CLONE_VFORK | SIGCHLD */
        "	mov x1, #0\n"
        "	mov x8, #220\n" /* SYS_clone */
        "	svc #0\n"
        "	cbz x0, 2f\n"
        "	mov w1, w10\n"
        "	b mal_vfork_in_parent\n"
        "2:	tbnz w10, #31, 3f\n"
        "	mov w11, #-1\n"
        "	str w11, [x9, #4]\n"
        "3:	mov x16, #1\n"
        "	hint #40\n" /* chkfeat x16: 0 where there is a guarded control stack */
        "	cbz x16, 4f\n"
        "	ret\n"
        "4:	mov x16, x30\n"
        "	br x16\n"
        "	.cfi_endproc\n"
        ".size mallard_vfork, . - mallard_vfork\n" MAL_VFORK_NAMES ".popsection\n");

static void take_number_back(void) {
    uint64_t slab, header;
    char *area = (char *)__builtin_thread_pointer() + mal_percpu_area_offset;
    __asm__ goto volatile(
        MAL_RSEQ_BEGIN "ldr %w[header], [%[area]]\n\t"
                       "str %w[header], [%[area], #4]\n" MAL_RSEQ_END("gave_up")
        : [slab] "=&r"(slab), [header] "=&r"(header)
        : [area] "r"(area), [slabs] "r"(mal_percpu_slabs), [shift] "i"(MAL_SLAB_SHIFT)
        : "memory", "cc"
        : gave_up);
gave_up:
    return;
}

#endif

static int32_t *number(void) {
    void *address = (char *)__builtin_thread_pointer() + mal_percpu_area_offset;
    struct rseq *area = address;
    return (int32_t *)&area->cpu_id;
}

int32_t mal_percpu_hide(void) {
    int32_t before = mal_percpu_area_offset ? mal_percpu_current() : -1;
    if (before >= 0)
        mal_store_relaxed(number(), -1);
    return before;
}

void mal_percpu_show(int32_t before) {
    if (before >= 0 && mal_percpu_current() < 0)
        take_number_back();
}

pid_t mal_vfork_in_parent(int result, int32_t cpu_before) {
    mal_percpu_show(cpu_before);
    if (result >= 0)
        return result;
    errno = -result;
    return -1;
}
