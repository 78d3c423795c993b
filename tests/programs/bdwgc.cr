# Fibers that hold trees on their own stacks while others allocate: Crystal's runtime collects with
# Boehm's collector, and tells it of stacks that no thread is on.

class Node
  getter left : Node?
  getter right : Node?
  getter name : String

  def initialize(depth : Int32)
    @name = "node #{depth}"
    if depth > 0
      @left = Node.new(depth - 1)
      @right = Node.new(depth - 1)
    end
  end

  def count : Int32
    1 + (@left.try(&.count) || 0) + (@right.try(&.count) || 0)
  end

  def letters : Int32
    @name.size + (@left.try(&.letters) || 0) + (@right.try(&.letters) || 0)
  end
end

class Closed
  @@closed = 0

  def self.closed
    @@closed
  end

  def finalize
    @@closed += 1
  end
end

results = Channel({Int32, Int32, Int32}).new
100.times do |number|
  spawn do
    kept = Node.new(6)
    5.times do
      Node.new(8)
      Closed.new
      Fiber.yield
    end
    results.send({number, kept.count, kept.letters})
  end
end

all = Array.new(100) { results.receive }
puts all.map(&.[0]).sort == (0...100).to_a
puts all.map(&.[1]).uniq, all.map(&.[2]).uniq
words = Hash(String, Int32).new(0)
200_000.times { |i| words["word #{i % 5000}"] += i }
puts words.size, words["word 77"]
GC.collect
puts "objects were finalized: #{Closed.closed > 300}"
