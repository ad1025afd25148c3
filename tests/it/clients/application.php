<?php
// An application that uses the example's class: publishes each line that it reads, and says so once the broker has it.
//
//   php application.php FOLDER      with the folder of publish.php

require "$argv[1]/publish.php";

$publisher = new EventPublisher(getenv('AMQP_URL'));
while (($line = fgets(STDIN)) !== false) {
    $publisher->publish(json_decode($line, true));
    echo "confirmed\n";
}
