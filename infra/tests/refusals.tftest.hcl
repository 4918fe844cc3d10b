# Guards: a router that AWS or the binaries would refuse is refused before anything is made, with a remedy. The colliding names were
# found by a search: with 8 hex digits it takes some ten thousand RPCs.

run "refuses_event_twice" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = <<-EOT
      event:
        - { name: 'event_a', subscriber: [{ id: 'S/M' }] }
        - { name: 'event_a', subscriber: [{ id: 'S/N' }] }
    EOT
  }

  expect_failures = [output.routes, output.rpcs]

  assert {
    condition = output.findings == tolist([
      "event 'event_a' is listed 2 times: put all its subscribers in one list",
    ])
    error_message = jsonencode(output.findings)
  }
}

run "refuses_subscriber_twice" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = <<-EOT
      event:
        - { name: 'event_a', subscriber: [{ id: 'S/M' }, { id: 'S/M' }] }
    EOT
  }

  expect_failures = [output.routes, output.rpcs]

  assert {
    condition = output.findings == tolist([
      "'S/M' subscribes to 'event_a' 2 times: leave one of them",
    ])
    error_message = jsonencode(output.findings)
  }
}

run "refuses_policies_that_differ" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = <<-EOT
      event:
        - { name: 'event_a', subscriber: [{ id: 'S/M', timeout: 2s }, { id: 'S/N', max_attempts: 3 }] }
        - { name: 'event_b', subscriber: [{ id: 'S/M' }, { id: 'S/N', max_attempts: 4 }] }
    EOT
  }

  expect_failures = [output.routes, output.rpcs]

  assert {
    condition = output.findings == tolist([
      "'S/M' has different delivery policies: an RPC has one queue and one policy, write the same in every place",
      "'S/N' has different delivery policies: an RPC has one queue and one policy, write the same in every place",
    ])
    error_message = jsonencode(output.findings)
  }
}

run "refuses_queues_that_collide" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = <<-EOT
      event:
        - { name: 'event_a', subscriber: [{ id: 'acme.v1.CollisionCollisionCollisionCollisionCollisionService/Method15714' }] }
        - { name: 'event_b', subscriber: [{ id: 'acme.v1.CollisionCollisionCollisionCollisionCollisionService/Method20585' }] }
    EOT
  }

  expect_failures = [output.routes, output.rpcs]

  assert {
    condition = output.findings == tolist([
      "acme.v1.CollisionCollisionCollisionCollisionCollisionService/Method15714 and acme.v1.CollisionCollisionCollisionCollisionCollisionService/Method20585 would share the queue name 'acme-v1-CollisionCollisionCollisionCollisionCollisionSe-03e2fede': rename one of the RPCs",
    ])
    error_message = jsonencode(output.findings)
  }
}

run "refuses_rules_that_collide" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = <<-EOT
      event:
        - { name: 'event_collision_collision_collision_collision_collision_collision_updated', subscriber: [{ id: 'S/M22461' }, { id: 'S/M85050' }] }
    EOT
  }

  expect_failures = [output.routes, output.rpcs]

  assert {
    condition = output.findings == tolist([
      "event_collision_collision_collision_collision_collision_collision_updated -> S/M22461 and event_collision_collision_collision_collision_collision_collision_updated -> S/M85050 would share the rule name 'event_collision_collision_collision_collision_collision-65bdc22f': rename one of the RPCs",
    ])
    error_message = jsonencode(output.findings)
  }
}

run "refuses_a_queue_of_two_rpcs" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = <<-EOT
      event:
        - { name: 'event_a', subscriber: [{ id: 'v1.S/M', queue: 'S/M' }, { id: 'v2.S/M', queue: 'v2.S/M' }] }
        - { name: 'event_b', subscriber: [{ id: 'S/M' }, { id: 'v2.S/M' }] }
    EOT
  }

  expect_failures = [output.routes, output.rpcs]

  assert {
    condition = output.findings == tolist([
      "the queue 'S/M' is that of v1.S/M and S/M: a queue calls one RPC, write the same `id` in every place, or another `queue`",
    ])
    error_message = jsonencode(output.findings)
  }
}
