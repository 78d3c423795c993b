// SPDX-License-Identifier: Apache-2.0

// The programs of this folder in Go, for comparison: main PROGRAM [ARGUMENT...] with the same
// arguments, the same work and the same lines on standard output.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
)

type node struct{ left, right *node }
type fatNode struct {
	left, right *fatNode
	data        [6]uint64
}

func argument(number int, fallback int) int {
	if len(os.Args) <= number+1 {
		return fallback
	}
	value, err := strconv.Atoi(os.Args[number+1])
	if err != nil {
		os.Exit(2)
	}
	return value
}

func randomNext(state *uint64) uint64 {
	*state ^= *state << 13
	*state ^= *state >> 7
	*state ^= *state << 17
	return *state
}

func grow(depth int) *node {
	n := &node{}
	if depth > 0 {
		n.left, n.right = grow(depth-1), grow(depth-1)
	}
	return n
}

func (n *node) count() int {
	if n.left == nil {
		return 1
	}
	return 1 + n.left.count() + n.right.count()
}

func binaryTrees() {
	const least = 4
	depth, threads := argument(1, 20), argument(2, 1)
	nodes := grow(depth + 1).count()
	longLived := grow(depth)
	for d := least; d <= depth; d += 2 {
		trees := 1 << (depth - d + least)
		found := make([]int, threads)
		var group sync.WaitGroup
		for t := 0; t < threads; t++ {
			group.Add(1)
			go func(t int) {
				defer group.Done()
				for i := t; i < trees; i += threads {
					found[t] += grow(d).count()
				}
			}(t)
		}
		group.Wait()
		for _, n := range found {
			nodes += n
		}
	}
	nodes += longLived.count()
	fmt.Println("nodes", nodes)
}

var sink *node
var fatSink *fatNode

func allocate() {
	bytes, rounds := argument(1, 16), argument(2, 60)
	debug.SetGCPercent(-1)
	count := (8 << 20) / bytes
	best := time.Hour
	for round := 0; round < rounds; round++ {
		start := time.Now()
		if bytes == 16 {
			for i := 0; i < count; i++ {
				sink = &node{}
			}
		} else {
			for i := 0; i < count; i++ {
				fatSink = &fatNode{}
			}
		}
		if spent := time.Since(start); spent < best {
			best = spent
		}
		runtime.GC()
	}
	fmt.Printf("ns_per_object %.2f\n", float64(best.Nanoseconds())/float64(count))
}

func buildTree(count int, shuffled bool) []*fatNode {
	all := make([]*fatNode, count)
	for i := range all {
		all[i] = &fatNode{}
	}
	random := uint64(88172645463325252)
	for i := count - 1; shuffled && i > 0; i-- {
		j := int(randomNext(&random) % uint64(i+1))
		all[i], all[j] = all[j], all[i]
	}
	for i, n := range all {
		if 2*i+1 < count {
			n.left = all[2*i+1]
		}
		if 2*i+2 < count {
			n.right = all[2*i+2]
		}
	}
	return all
}

func mark() {
	count, rounds := (argument(1, 1024)<<20)/64, argument(2, 5)
	root := buildTree(count, true)[0]
	runtime.GC()
	best := time.Hour
	for round := 0; round < rounds; round++ {
		start := time.Now()
		runtime.GC()
		if spent := time.Since(start); spent < best {
			best = spent
		}
	}
	fmt.Printf("objects_per_second %.0f\n", float64(count)/best.Seconds())
	runtime.KeepAlive(root)
}

func live() {
	const perSecond, garbage = 10000, 40
	count, seconds := (argument(1, 1024)<<20)/64, argument(2, 20)
	all := buildTree(count, false)
	random := uint64(88172645463325252)
	var worst time.Duration
	start := time.Now()
	for i := 0; i < seconds*perSecond; i++ {
		if due := time.Duration(i)*(time.Second/perSecond) - time.Since(start); due > 0 {
			time.Sleep(due)
		}
		before := time.Now()
		a, b := all[randomNext(&random)%uint64(count)], all[randomNext(&random)%uint64(count)]
		a.left, b.left = b.left, a.left
		for g := 0; g < garbage; g++ {
			fatSink = &fatNode{}
		}
		fresh := new(fatNode)
		*fresh = *a
		a.right = fresh
		if spent := time.Since(before); spent > worst {
			worst = spent
		}
	}
	fmt.Println("worst_operation_ns", worst.Nanoseconds())
}

func lru() {
	const messageBytes = 1024
	window, messages := (argument(1, 1024)<<20)/messageBytes, argument(2, 3000000)
	newest := make([][]byte, window)
	var worst time.Duration
	for i := 0; i < messages; i++ {
		start := time.Now()
		message := make([]byte, messageBytes)
		for j := range message {
			message[j] = byte(i)
		}
		newest[i%window] = message
		if spent := time.Since(start); spent > worst {
			worst = spent
		}
	}
	fmt.Println("worst_insertion_ns", worst.Nanoseconds())
}

func list(mib int) *fatNode {
	var head *fatNode
	for i := 0; i < (mib<<20)/64; i++ {
		head = &fatNode{left: head}
	}
	return head
}

func residentKiB() int {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		os.Exit(1)
	}
	pages, _ := strconv.Atoi(strings.Fields(string(text))[1])
	return pages * os.Getpagesize() / 1024
}

func spike() {
	mib, seconds := argument(1, 50), argument(2, 10)
	kept := list(mib)
	list(9 * mib)
	runtime.GC()
	fmt.Println("spike_kib", residentKiB())
	for i := 0; i < seconds*100; i++ {
		for j := 0; j < 20; j++ {
			fatSink = &fatNode{}
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("after_kib", residentKiB())
	fmt.Println("live_kib", mib<<10)
	runtime.KeepAlive(kept)
}

func main() {
	programs := map[string]func(){"binary_trees": binaryTrees, "allocate": allocate, "mark": mark, "live": live, "lru": lru, "spike": spike}
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "main binary_trees|allocate|mark|live|lru|spike [ARGUMENT...]")
		os.Exit(2)
	}
	programs[os.Args[1]]()
}
