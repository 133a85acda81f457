# Stands in for nixpkgs where that cannot be downloaded: it offers the host's own
# programs and a Debian guest under the names that the repository's flake.nix uses,
# with the interfaces of nixpkgs as far as they are used. images/nixos/with-standin
# runs nix with it.
{
  # A folder with host.json, and the manifest.json of the guest; see with-standin.
  inputs.host = {
    url = "path:/var/empty";
    flake = false;
  };

  outputs =
    { self, host }:
    let
      facts = builtins.fromJSON (builtins.readFile "${host}/host.json");
      lib = import ./lib.nix // {
        # The guest's module is not evaluated: the image is the host's.
        nixosSystem =
          { system, specialArgs, ... }:
          {
            config.system.build.vmtestImage = import ./guest.nix {
              inherit facts;
              inherit (self.legacyPackages.${system}) runCommand;
              inherit (specialArgs) seal;
              debian = builtins.fromJSON (builtins.readFile "${host}/manifest.json");
            };
          };
      };
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
        system: import ./packages.nix { inherit lib system facts; }
      );
    };
}
